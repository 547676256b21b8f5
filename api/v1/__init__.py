"""The native API, resources and verbs."""
