"""A configuration as the command line that gives it."""

from __future__ import annotations

from closeup.core.config import RunConfig, flag_of, option_fields


def flags_of(config: RunConfig) -> list[tuple[str, str]]:
    """What differs from the defaults, as on the command line: flags with values (``""``: a switch).

    Without PHOTOS, and without what only ``closeup.toml`` can set.

    >>> from closeup.core.config import PhotosConfig, TrainConfig
    >>> pads = TrainConfig(flip=False, pads=(0, 0.5))
    >>> flags_of(RunConfig(photos=PhotosConfig(source="p"), train=pads))
    [('--compare-pads', '0.0,0.5'), ('--no-flip', '')]
    """
    found = []
    for name, (section, field) in option_fields().items():
        value, flag = getattr(getattr(config, section), name), flag_of(name, field)
        if not flag or value in (field.default, ""):
            continue
        if isinstance(value, bool):
            found.append((flag if value else f"--no-{flag[2:]}", ""))
        elif isinstance(value, tuple):
            found.append((flag, ",".join(map(str, value))))
        else:
            found.append((flag, str(value)))
    return found
