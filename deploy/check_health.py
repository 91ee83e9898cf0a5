"""The container's health check: exit status 0 if the API of this container says it is ready.

It answers for what the API needs, too, so that nobody is sent to a server that cannot work.
"""

import http.client
import os
import sys

TIMEOUT_SECONDS = 4


def main() -> int:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("PORT", "8000")), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/api/v1/ready")
        answer = connection.getresponse()
        print(answer.status, answer.read().decode())
        # ALLOWED_HOSTS may refuse the name that this asks for: a sign of life as well.
        return 0 if answer.status < http.HTTPStatus.INTERNAL_SERVER_ERROR else 1
    except OSError as error:
        print(error)
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
