"""The ground floor: errors, row types, configuration, the project folder and its tables."""
