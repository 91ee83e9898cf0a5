"""The container's health check: exit status 0 if the API of this container is ready.

Readiness includes the servers that the API needs, so that no request is sent to a container that cannot handle it.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 4


def main() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8000")), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/api/v1/ready")
        response = connection.getresponse()
        print(response.status, response.read().decode())
        # ALLOWED_HOSTS may refuse this request's host name with 400: the API is running then, too.
        return 0 if response.status < http.HTTPStatus.INTERNAL_SERVER_ERROR else 1
    except OSError as error:
        print(error)
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
