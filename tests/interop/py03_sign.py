"""Signs cards with a2a-sdk 0.3.x: py03_sign.py KEY.pem HEADER.json OUT CARD..."""

import json
import sys

from a2a.types import AgentCard
from a2a.utils.helpers import canonicalize_agent_card
from a2a.utils.signing import create_agent_card_signer
from py_common import sign_all


def sign(text, key, header):
    card = AgentCard.model_validate(json.loads(text))
    canonical = canonicalize_agent_card(card)
    signed = create_agent_card_signer(key, {"jku": None, **header})(card)
    return canonical, signed.model_dump(exclude_none=True, by_alias=True)


sign_all(sys.argv[1:], sign)
