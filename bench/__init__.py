"""Benchmarks: a package, so that no other module of that name on the path takes its place."""
