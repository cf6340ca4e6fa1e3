"""Keep one comment on a pull request up to date with its review, which is untrusted text.

    python3 .github/comment.py REVIEW.md

Needs only Python. GitHub's own event ($HEAD_OWNER, $HEAD_BRANCH and $HEAD_SHA) names the branch that the finished run
was for, and so the pull request; the text cannot choose it. Actions provides $GITHUB_REPOSITORY, $GITHUB_API_URL and
$GITHUB_TOKEN; $RUN_URL is the run's page.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

MARKER = "<!-- review of the recommender -->"
AUTHOR = "github-actions[bot]"  # the author of comments written with $GITHUB_TOKEN
# Mentions and links, in every form that GitHub recognises: #12, GH-12, owner/name#12, an address, [text](target),
# [text][name] with [name]: target; and blocks of code, which GitHub draws as diagrams and maps with links of their own.
LINKED = re.compile(r"(@|#(?=\d)|(?<![a-z0-9])gh-(?=\d)|:(?=//)|www(?=\.)|\](?=[(\[:])|`(?=``)|~(?=~~))", re.IGNORECASE)
MAX_CHARACTERS = 60_000  # GitHub takes 65,536
PAGE_SIZE = 100


def main() -> None:
    """Write the comment, unless no open pull request has the commit at its head."""
    number = find_pull_request()
    if number is None:
        print("No open pull request has this commit at its head: nothing to comment on.")
        return
    body = compose_comment(Path(sys.argv[1]))
    comment_id = find_comment(number)
    if comment_id is None:
        call_api("POST", f"issues/{number}/comments", {"body": body})
    else:
        call_api("PATCH", f"issues/comments/{comment_id}", {"body": body})
    print(f"Commented on #{number}.")


def find_pull_request() -> int | None:
    """Return the number of the open pull request whose head is exactly the commit that the run was for."""
    head = urllib.parse.quote(f"{os.environ['HEAD_OWNER']}:{os.environ['HEAD_BRANCH']}", safe="")
    pulls = call_api("GET", f"pulls?state=open&head={head}")
    return next((pull["number"] for pull in pulls if pull["head"]["sha"] == os.environ["HEAD_SHA"]), None)


def find_comment(number: int) -> int | None:
    """Return the id of the comment that an earlier run wrote."""
    page = 1
    while True:
        comments = call_api("GET", f"issues/{number}/comments?per_page={PAGE_SIZE}&page={page}")
        for comment in comments:
            if comment["user"]["login"] == AUTHOR and comment["body"].startswith(MARKER):
                return int(comment["id"])
        if len(comments) < PAGE_SIZE:
            return None
        page += 1


def compose_comment(path: Path) -> str:
    """Return the comment's whole text, from the file of the review."""
    sha = os.environ["HEAD_SHA"]
    run_url = os.environ["RUN_URL"]
    origin = f"Written by this pull request's own code, at {sha}: [the run]({run_url})."
    if not path.is_file() or path.is_symlink():
        return f"{MARKER}\nThere is no review: the run ended before it. {origin}"
    with path.open("rb") as file:
        text = file.read(4 * MAX_CHARACTERS + 1).decode("utf-8", errors="replace")
    # The origin comes first: nothing in the text, such as a code fence that is never closed, can swallow it.
    return f"{MARKER}\n{origin}\n\n---\n\n{defuse(text)}"


def defuse(text: str) -> str:
    """Return the text without mentions, links, images and HTML, cut if it is too long."""
    text = "".join(letter for letter in text if letter.isprintable() or letter == "\n")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace("![", "!\\[")
    text = LINKED.sub("\\1\N{ZERO WIDTH SPACE}", text)
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS].rpartition("\n")[0] + "\n\n(The rest was too long: it is in the run's summary.)"
    return text


def call_api(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Call GitHub's API for this repository and return its JSON; exit with a sentence if GitHub refuses."""
    request = urllib.request.Request(
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"ERROR: {method} {path}: GitHub answered {error.code}: {error.read(500).decode(errors='replace')}")


if __name__ == "__main__":
    main()
