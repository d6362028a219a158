"""Try a trained run on a page in your browser: drop a radiograph, see what the network finds.

For example,

    python -m ptxtf.serve --run_dir=runs/demo

and open the address that it prints. A DICOM, PNG or JPEG file is outlined, its findings are told, and masks, overlay
and findings can be taken along. Nothing leaves this machine, and nothing is kept on its disk. Ctrl-C ends it.
Research software, no medical device.
"""

import importlib.util
import logging
import signal
import socket
import sys

from ptxtf import flags
from ptxtf.config import InferenceConfig, LimitConfig, MaskConfig, ServeConfig
from ptxtf.errors import InputError


def main(config: ServeConfig, limits: LimitConfig, mask_config: MaskConfig, asked: InferenceConfig) -> None:
    """Serve until interrupted."""
    missing = [name for name in ("starlette", "uvicorn") if not importlib.util.find_spec(name)]
    if missing:
        raise InputError(f"expected what a page needs: pip install 'ptxtf[serve]'. Received: no {', '.join(missing)}")
    from ptxtf.serving import examine, server
    from ptxtf.serving.app import app

    with server.bind(config.host, config.port) as listening:
        page = app(
            examine.load(config, mask_config, asked),
            limits,
            names={config.host.lower(), socket.gethostname().lower()},
        )
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        logging.getLogger("ptxtf.serving").setLevel(logging.INFO)
        if not server.is_private(listening):
            print("warning: whoever reaches this machine reaches the page. It has no login, and speaks plain HTTP.")
        print(f"serving at {server.address(listening)}", flush=True)
        # by itself it would leave a visitor's files behind
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            server.of(page).run(sockets=[listening])
        finally:
            signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    flags.run(main, ServeConfig, LimitConfig, MaskConfig, InferenceConfig)
