"""The ground floor: errors, artifacts, recipes and sources. It imports no other room."""
