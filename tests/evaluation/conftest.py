"""Puts the helpers of this folder within reach of the tests in its subfolders."""
