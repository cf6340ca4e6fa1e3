"""Wait until a server answers, and ask it for the products similar to one of its catalogue.

    python3 .github/smoke_test.py http://127.0.0.1:8000

Exits with 1 if it is not ready within a minute, or recommends nothing. Needs the standard library alone.
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

SECONDS = 60


def main(url: str) -> None:
    """Ask the server; end the process if an answer is wrong."""
    wait_until_ready(url)
    (product,) = get(f"{url}/api/products?limit=1")["products"]
    product_id = urllib.parse.quote(product["product_id"], safe="")
    similar = get(f"{url}/api/products/{product_id}/similar?k=3")
    if not similar:
        raise SystemExit(f"nothing is similar to {product['name']} ({product['product_id']})")
    print(f"similar to {product['name']}: {', '.join(other['product']['name'] for other in similar)}")


def wait_until_ready(url: str) -> None:
    """Wait until questions of every kind are answered."""
    for _ in range(SECONDS):
        try:
            get(f"{url}/ready")
            return
        except urllib.error.URLError as error:
            reason = error
            time.sleep(1)
    raise SystemExit(f"{url} is not ready after {SECONDS} seconds: {reason}")


def get(url: str) -> Any:
    """Return the JSON at an address."""
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main(sys.argv[1])
