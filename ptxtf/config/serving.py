"""Settings of the page on which a trained run is tried."""

import dataclasses

from ptxtf.config.fields import check, check_fields, check_not_negative, check_positive, check_spacing_factor, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """A page to try a trained run on."""

    run_dir: str = setting("folder that ptxtf.train or ptxtf.ensemble wrote; several with commas between: their mean")
    port: int = setting("port to serve at; 0: any that is free", 8080)
    host: str = setting(
        "name or address to serve at. By default nobody but this machine reaches the page, which knows no login; "
        "0.0.0.0: all that this machine has",
        "127.0.0.1",
    )
    spacing_factor: float = setting(
        "what the pixel spacing that files state is multiplied by, as in ptxtf.predict; 0: by 1, or 2.5 for files like "
        "SIIM-ACR's",
        0.0,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check(bool(self.host), "host, a name or an address", host=self.host)
        check(0 <= self.port < 65536, "port in 0..65535", port=self.port)
        check_spacing_factor(self.spacing_factor)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LimitConfig:
    """What a visitor of that page may use up."""

    max_mib: int = setting("largest file that is taken, in MiB", 64)
    upload_seconds: float = setting("time in which a file must have come in", 120.0)
    max_waiting: int = setting("files that may wait while one is examined, one after another", 4)
    keep: int = setting("results that are kept, in memory only", 8)
    keep_mib: int = setting("most memory for them in MiB; the last one is kept in any case", 256)
    keep_minutes: float = setting("time after which a result is forgotten", 30.0)

    def __post_init__(self) -> None:
        check_fields(self)
        check_positive(
            max_mib=self.max_mib,
            upload_seconds=self.upload_seconds,
            keep=self.keep,
            keep_mib=self.keep_mib,
            keep_minutes=self.keep_minutes,
        )
        check_not_negative(max_waiting=self.max_waiting)
