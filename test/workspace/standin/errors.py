"""errors.py: the one exception that becomes an HTTP error answer.

Separate so that every floor (schema checks, engine, areas) can refuse a
request without knowing the HTTP layer.  Shapes and texts follow the recorded
or observed answers of the real service; where none is known the code is the
documented one and the wording is ours.
"""


class ApiError(Exception):
    """Carries everything needed to answer one refused request."""

    def __init__(self, status, code, message, headers=None, details=None):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
        self.details = details

    def body(self):
        body = {"error_code": self.code, "message": self.message}
        if self.details is not None:
            body["details"] = self.details
        return body


def invalid(message):
    return ApiError(400, "INVALID_PARAMETER_VALUE", message)


def malformed(message):
    return ApiError(400, "MALFORMED_REQUEST", message)


def invalid_state(message):
    return ApiError(400, "INVALID_STATE", message)


def denied(message):
    return ApiError(403, "PERMISSION_DENIED", message)


def bad_json():
    return malformed("Invalid JSON given in the body of the request - failed to parse given JSON")


def no_route(method, path):
    return ApiError(404, "ENDPOINT_NOT_FOUND", "No API found for '%s %s'" % (method, path))


def bad_target(path):
    return ApiError(404, "ENDPOINT_NOT_FOUND", "Bad Target: %s" % path)


def no_job(job_id):
    return invalid("Job %s does not exist." % job_id)


def no_run(run_id):
    return invalid("Run %s does not exist." % run_id)
