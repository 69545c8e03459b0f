"""Profiles of running Python code: taken by sampling, added up, drawn. Knows neither the engine nor processes."""
