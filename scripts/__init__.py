"""What a person types. The executables beside this file run one module of `scripts.cli` each."""
