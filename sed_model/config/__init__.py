"""The frozen configuration, its YAML files, and the stages that it plans."""
