"""The paper's experiment from a TOML file: networks trained, features, SVMs, scores per AU."""
