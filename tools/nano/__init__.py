"""How the networks in `closeup/zoo/builtin` are trained and measured."""
