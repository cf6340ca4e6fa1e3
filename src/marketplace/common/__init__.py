"""The vocabulary of all packages: errors, files, parameters, progress and command-line conventions."""
