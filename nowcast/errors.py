"""The one error tree. Each message names the value and the remedy.

::

    NowcastError
    ├── ConfigError            a setting or configuration file that cannot be used
    ├── InputError             an input file or frame that is refused
    │   ├── UnreadableFile     empty, truncated, of no known source, or not what it claims to be
    │   ├── WrongGrid          another grid or CRS than the region or source states
    │   ├── WrongTime          no time, or one that lies in the future
    │   └── ReaderMissing      a library that this kind of file needs is not installed
    ├── FeedError              a feed cannot be reached or sends what it should not
    ├── TooFewFrames           not enough usable frames for a forecast
    ├── NotFound               the thing asked for does not exist
    │   ├── UnknownRegion
    │   ├── OutsideGrid        a point that lies in no region
    │   ├── NoRun              nothing published (yet)
    │   └── NotKept            a run, product, picture … that is not there
    ├── BadRequest             a request that cannot be answered as it stands
    │   ├── TooMuch            … because it asks for more than one answer may cost
    │   ├── NoAccess           … because its key is missing, wrong or not made for it
    │   └── TooOften           … because the caller is over the limit
    ├── Busy                   too much work is waiting already
    ├── UnknownModel           no model has that name
    ├── EngineError            an engine cannot be built, loaded or run
    │   ├── RuntimeMissing     a library that the runtime needs is not installed
    │   ├── EngineFault        the engine process crashed, hung or ran out of memory
    │   ├── NotReady           the engine is still being prepared
    │   ├── PlanRefused        a plan whose signature, version, age, key or machine does not allow it to be loaded
    │   ├── DoesNotFit         the engines need more device memory than there is
    │   └── ParityFailed       outputs differ from the PyTorch reference by more than the gate allows
    ├── StoreError             the database is away or unusable
    │   ├── StoreNotMigrated   its tables are not those of this version
    │   └── LeaseLost          another worker has taken over
    ├── ArchiveError           the archive cannot be read or written
    ├── NoRoom                 a file of ours cannot be written: the disk is full, read-only or not ours
    ├── LifeError              a step in the life of a model that is not allowed
    ├── TooSlow                a region took longer than its deadline
    └── PortInUse              the address to listen on is taken

Only a `NowcastError` isolates a region; anything else is a bug and stops the process.
"""


class NowcastError(Exception):
    """Something that can happen in operation, told with its value and its remedy."""


class ConfigError(NowcastError):
    """A setting or configuration file cannot be used."""


class InputError(NowcastError):
    """An input is refused."""


class UnreadableFile(InputError):
    """The file is empty, truncated, of no known source, or not what it claims to be."""


class WrongGrid(InputError):
    """The frame lies on another grid than the one stated."""


class WrongTime(InputError):
    """The valid time is missing or lies in the future."""


class ReaderMissing(InputError):
    """A library that this kind of file needs is not installed."""


class FeedError(NowcastError):
    """A feed cannot be reached, or sends what it should not."""


class TooFewFrames(NowcastError):
    """There are not enough usable frames to start a forecast from."""


class NotFound(NowcastError):
    """The thing asked for does not exist."""


class UnknownRegion(NotFound):
    """No region has that name."""


class OutsideGrid(NotFound):
    """The point lies outside."""


class NoRun(NotFound):
    """Nothing has been published."""


class NotKept(NotFound):
    """No such run, product, picture or file."""


class BadRequest(NowcastError):
    """The request cannot be answered as it stands."""


class TooMuch(BadRequest):
    """The request asks for more than one answer may cost."""


class NoAccess(BadRequest):
    """The key is missing, wrong or not made for this."""


class TooOften(BadRequest):
    """The caller is over its limit."""


class Busy(NowcastError):
    """Too much work is waiting already."""


class UnknownModel(NowcastError):
    """No model has this name."""


class EngineError(NowcastError):
    """An engine cannot be built, loaded or run."""


class RuntimeMissing(EngineError):
    """A library that the runtime needs is not installed."""


class EngineFault(EngineError):
    """The engine process crashed, hung or ran out of memory; it has been ended."""


class NotReady(EngineError):
    """The engine is still being prepared."""


class PlanRefused(EngineError):
    """Signature, version, age, key or machine do not allow the plan to be loaded."""


class DoesNotFit(EngineError):
    """The engines need more device memory than there is."""


class ParityFailed(EngineError):
    """Engine outputs differ from the PyTorch reference by more than the gate allows."""


class StoreError(NowcastError):
    """The database is away or unusable."""


class StoreNotMigrated(StoreError):
    """The database's tables are not those of this version."""


class LeaseLost(StoreError):
    """Another worker has taken over."""


class ArchiveError(NowcastError):
    """The archive cannot be read or written."""


class NoRoom(NowcastError):
    """A file of ours cannot be written."""

    @classmethod
    def of(cls, path: object, error: Exception) -> "NoRoom":
        """Return the error for a path, with what the system said of it."""
        said = getattr(error, "strerror", None) or error
        return cls(f"{path}: {said}; make room on its disk, or let this user write there")


class LifeError(NowcastError):
    """A step in the life of a model that is not allowed."""


class TooSlow(NowcastError):
    """A region took longer than its deadline."""


class PortInUse(NowcastError):
    """The address to listen on is taken."""
