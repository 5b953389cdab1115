"""The configuration files; Hydra finds them through this package once it is installed."""
