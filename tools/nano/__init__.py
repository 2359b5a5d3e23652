"""How the networks in `closeup/networks/builtin` are trained and measured."""
