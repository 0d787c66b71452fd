"""The commands of `beforehand`, one module each; `streaming.cli` puts them together."""
