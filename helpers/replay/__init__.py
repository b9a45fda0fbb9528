"""Answers with no account: what stands in for the service in mode replay."""
