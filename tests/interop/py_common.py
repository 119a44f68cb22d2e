"""What the scripts of all a2a-sdk versions share: files in, files and one result line per card out."""

import json
import logging
import pathlib
import sys


def sign_all(name_key_chain_out_cards, sign_one):
    """Signs every card; `sign_one(text, key_pem, header)` returns (canonical text, served document)."""
    key_file, header_file, out, *cards = name_key_chain_out_cards
    logging.disable(logging.CRITICAL)
    key = pathlib.Path(key_file).read_bytes()
    header = json.loads(pathlib.Path(header_file).read_text())
    for card in map(pathlib.Path, cards):
        try:
            canonical, served = sign_one(card.read_text(), key, header)
        except Exception as error:  # an SDK that refuses a card is a result, not a failure of this script
            report(card.stem, "refused", error)
            continue
        target = pathlib.Path(out) / card.stem
        target.with_name(card.stem + ".canonical").write_bytes(canonical.encode())
        # How Starlette's JSONResponse renders a body.
        body = json.dumps(served, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        target.with_name(card.stem + ".json").write_bytes(body.encode())
        report(card.stem, "signed")


def verify_all(key_and_cards, verify_one):
    """Verifies every card; `verify_one(text, key_pem)` raises if the SDK refuses it."""
    key_file, *cards = key_and_cards
    logging.disable(logging.CRITICAL)
    key = pathlib.Path(key_file).read_bytes()
    for card in map(pathlib.Path, cards):
        try:
            verify_one(card.read_text(), key)
        except Exception as error:
            report(card.stem, "refused", error)
            continue
        report(card.stem, "verified")


def report(card, outcome, error=None):
    """One line per card: name, outcome and, after a refusal, why; separated by tabs."""
    why = "" if error is None else f"{type(error).__name__}: {error}".replace("\n", " ").replace("\t", " ")[:200]
    sys.stdout.write(f"{card}\t{outcome}\t{why}\n")
