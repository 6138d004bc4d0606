"""How programs are pointed at this emulator, below /emulator: the variables that a shell sets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.responses import FileResponse

from headway_emulator import authority, environment
from headway_emulator.api.rest import Call, Rule
from headway_emulator.errors import invalid
from headway_emulator.world import World

PEM = "application/x-pem-file"
WAYS = (environment.TRANSPARENT, environment.EXPLICIT, environment.CONTAINER)


def rules(world: World) -> list[Rule]:
    """Added to the emulator's own service."""
    settings = world.settings

    def variables(call: Call) -> Any:
        """`way` is one of WAYS. The files that the variables name exist when this is answered."""
        way = call.query.get("way", environment.TRANSPARENT)
        if way not in WAYS:
            raise invalid(f"The way is one of {', '.join(WAYS)}, not {way!r}.")
        environment.prepare(settings)
        found = environment.of(settings, authority.of(settings.state).bundle(), way)
        return {"way": way, **asdict(found)}

    def roots(call: Call) -> Any:  # noqa: ARG001
        """What to trust, for a client that does not see this emulator's files."""
        return FileResponse(authority.of(settings.state).bundle(), media_type=PEM)

    return [
        Rule("env.get", "GET", "/emulator/env", variables),
        Rule("ca.get", "GET", "/emulator/ca", roots),
    ]
