"""The commands that answer questions, such as `similar` in the terminal and `serve` for a browser."""

import argparse
import logging
from typing import Any

from marketplace.common.console import port, project_root
from marketplace.review.terminal import add_format_options
from marketplace.serving.hosts import host_name, origin, path_prefix
from marketplace.serving.similar_command import add_similar_command

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add these commands to the subparsers of `marketplace`."""
    add_similar_command(commands)

    serve = commands.add_parser(
        "serve",
        help="browse the catalogue and find similar products in a browser",
        description="Show the catalogue on a page, with search, recommendations and a map, and answer its API "
        "(/openapi.json describes it). Ctrl-C stops it. docs/nginx.conf is a proxy before it, for other people.",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    serve.add_argument("--port", type=port, default=8000, help="port to listen on (default: %(default)s)")
    serve.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        type=host_name,
        help="also answer to this name, such as shop.example (for several names, repeat it)",
    )
    serve.add_argument(
        "--root-path",
        metavar="/PREFIX",
        default="",
        type=path_prefix,
        help="path under which a proxy serves the page, such as /shop (default: the proxy's header X-Forwarded-Prefix)",
    )
    serve.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        type=origin,
        help="let the pages of another site use the API, such as https://shop.example (for several, repeat it)",
    )
    serve.add_argument("--compare", metavar="REVISION", help="also show the recommendations of a commit or experiment")
    serve.set_defaults(run=_serve)

    feedback = commands.add_parser(
        "feedback",
        help="compare recommendations with users' ratings",
        description="Count how many products with a thumb up are recommended, and how many with a thumb down no longer "
        "are. People give thumbs and grades on the page of `marketplace serve`.",
    )
    comparison = feedback.add_mutually_exclusive_group()
    comparison.add_argument(
        "base", metavar="REVISION", nargs="?", help="also compare the recommendations of a commit, branch or experiment"
    )
    comparison.add_argument("--export", action="store_true", help="add the ratings to data/judgements.csv instead")
    add_format_options(feedback)
    feedback.set_defaults(run=_feedback)

    export = commands.add_parser(
        "export",
        help="upload the vectors to a database that `serve` can use",
        description="Upload the vectors to a database that `marketplace serve` can use, for large catalogues.",
    )
    databases = export.add_subparsers(required=True, metavar="DATABASE")
    qdrant = databases.add_parser(
        "qdrant",
        help="upload the vectors to Qdrant, then switch its alias to them",
        description="Upload the vectors to Qdrant, then switch its alias to them: questions are answered meanwhile.",
    )
    qdrant.add_argument("url", metavar="URL", help="such as http://localhost:6333, or a folder to try it without one")
    qdrant.set_defaults(run=_export)


def _serve(options: argparse.Namespace) -> None:
    from marketplace.serving.server import serve

    serve(
        project_root(),
        options.host,
        options.port,
        options.compare,
        options.allow_host,
        options.root_path,
        options.allow_origin,
    )


def _feedback(options: argparse.Namespace) -> None:
    from marketplace.serving.agreements import export_agreements, measure_agreements, print_ratings
    from marketplace.serving.feedback import export_grades

    root = project_root()
    if options.export:
        log.info(export_grades(root))
        return
    if options.format:
        export_agreements(measure_agreements(root, options.base), options.format)
    else:
        print_ratings(root, options.base)


def _export(options: argparse.Namespace) -> None:
    from marketplace.recommendation.catalogue import read_catalogue
    from marketplace.recommendation.fingerprints import (
        IMAGE_MODEL,
        RECOMMENDATIONS,
        TABLES,
        TEXT_MODEL,
        check_fingerprints,
    )
    from marketplace.recommendation.origin import origin_of
    from marketplace.serving.qdrant import URL_VARIABLE, collection_name, connect
    from marketplace.serving.qdrant_export import export

    root = project_root()
    origin = origin_of(root / RECOMMENDATIONS)
    check_fingerprints(root, origin.made_with, [*TABLES, IMAGE_MODEL, TEXT_MODEL])
    client = connect(options.url)
    export(client, options.url, read_catalogue(root), collection_name(origin.made_with))
    log.info("With %s=%s, `marketplace serve` uses it.", URL_VARIABLE, options.url)
