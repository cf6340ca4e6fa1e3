"""The foundation of all packages: errors, files, parameters and command-line conventions."""
