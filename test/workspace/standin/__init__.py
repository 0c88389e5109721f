"""standin: the parts of the stand-in Databricks workspace.

Standard library only.  server.py next to this package is the program; the
modules here know nothing about its command line.
"""
