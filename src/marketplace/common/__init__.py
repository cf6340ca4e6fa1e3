"""What every other package builds on: errors, files, parameters and the command-line conventions."""
