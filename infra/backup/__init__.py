"""Copies of everything that Halftone holds, made while it runs, and put back."""
