"""`async for` over frames: the waiting happens in a thread of the event loop's pool."""

import asyncio
import time

_SLICE_S = 0.1


async def next_frame(frames):
    """The next frame, while the event loop goes on."""
    loop = asyncio.get_running_loop()
    begun = time.monotonic()
    while not frames.closed:
        frame = frames._take()
        if frame is not None:
            return frame
        if frames.timeout is not None and time.monotonic() - begun >= frames.timeout:
            break
        await loop.run_in_executor(None, frames._wait, _SLICE_S)
    raise StopAsyncIteration
