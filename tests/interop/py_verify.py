"""Verifies cards with a2a-sdk 1.x: py_verify.py PUBLIC.pem CARD..."""

import json
import sys

from a2a.client.card_resolver import parse_agent_card
from a2a.utils.signing import create_signature_verifier
from py_common import verify_all


def verify(text, key):
    create_signature_verifier(lambda _kid, _jku: key, ["ES256"])(parse_agent_card(json.loads(text)))


verify_all(sys.argv[1:], verify)
