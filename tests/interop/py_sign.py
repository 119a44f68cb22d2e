"""Signs cards with a2a-sdk 1.x: py_sign.py KEY.pem HEADER.json OUT CARD..."""

import json
import sys

from a2a.client.card_resolver import parse_agent_card
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.utils.signing import _canonicalize_agent_card, create_agent_card_signer
from py_common import sign_all


def sign(text, key, header):
    card = parse_agent_card(json.loads(text))
    canonical = _canonicalize_agent_card(card)
    # The SDK's type for the header demands `jku`, so its callers send a null.
    signed = create_agent_card_signer(key, {"jku": None, **header})(card)
    return canonical, agent_card_to_dict(signed)


sign_all(sys.argv[1:], sign)
