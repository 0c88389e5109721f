"""areas: one module for each area of the API.

A module lists its calls in ROUTES: (method, path after /api/<version>,
versions, handler).  A handler takes (workspace, request) and returns the
members of the reply, or raises ApiError.  A path may hold {name} parts; they
arrive in request.parts.  Add a module to MODULES and it is served.
"""

from . import identity, jobs, oauth, runs

MODULES = (identity, jobs, runs, oauth)
