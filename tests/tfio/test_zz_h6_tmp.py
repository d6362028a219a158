import runpy, itertools, sys

sys.path.insert(0, "/work/main")
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")
S3 = runpy.run_path("/work/main/tests/tfio/test_remote_s3.py")
endpoint, bucket = S3["endpoint"], S3["bucket"]
R = runpy.run_path("/work/main/tests/test_remote.py")


def test_state(bucket):
    R["test_a_run_keeps_its_state"](bucket)


def test_whole(phantoms, tmp_path, bucket, capsys):
    R["test_the_whole_way_leads_through_remote_folders"](phantoms, tmp_path, bucket, capsys)
