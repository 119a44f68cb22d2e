"""Verifies cards with a2a-sdk 0.3.x: py03_verify.py PUBLIC.pem CARD..."""

import json
import sys

from a2a.types import AgentCard
from a2a.utils.signing import create_signature_verifier
from py_common import verify_all


def verify(text, key):
    create_signature_verifier(lambda _kid, _jku: key, ["ES256"])(AgentCard.model_validate(json.loads(text)))


verify_all(sys.argv[1:], verify)
