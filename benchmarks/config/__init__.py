"""The configuration: dataclasses in code (schema), experiment presets in YAML (experiment/)."""
