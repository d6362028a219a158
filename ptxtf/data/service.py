"""Read records and make batches for a training that runs elsewhere.

For example, on each machine that helps, which must find the records under the same path,

    python -m ptxtf.data.service --port=5050

and where the training runs

    python -m ptxtf.train --data_service=grpc://first:5050,grpc://second:5050 --records_dir=tfrecords --run_dir=run

The run is the same as without. It is TensorFlow's tf.data service, which runs what anyone who reaches the port sends:
keep it within a network that you trust.
"""

from ptxtf import flags
from ptxtf.config import ServiceConfig


def main(config: ServiceConfig) -> None:
    """Serve until interrupted."""
    from ptxtf.data import served

    served.serve(config, ready=lambda address: print(f"serving at {address}", flush=True))


if __name__ == "__main__":
    flags.run(main, ServiceConfig)
