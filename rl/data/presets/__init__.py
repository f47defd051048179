"""Published data sets by name: one YAML file each, beside this one."""

from rl.data.presets.preset import Part, Preset, load_preset, preset_files, preset_names, whole_preset
from rl.data.presets.reading import ARGS, Opened, numbered, open_preset, preset_of, preset_rows, rows_path

__all__ = [
    "ARGS",
    "Opened",
    "Part",
    "Preset",
    "load_preset",
    "numbered",
    "open_preset",
    "preset_files",
    "preset_names",
    "preset_of",
    "preset_rows",
    "rows_path",
    "whole_preset",
]
