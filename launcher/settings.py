"""Every number of the launcher."""

from pydantic import Field

from chassis.settings import Seconds, Settings


class LauncherSettings(Settings):
    """What the launcher needs besides what every service needs."""

    start_seconds: Seconds = Field(default=60, description="How long everything may take to become ready at the start.")
    stop_seconds: Seconds = Field(
        default=20,
        description="How long a part may take to stop before it is killed; longer for a gateway that is set to drain.",
    )
    restart_first_seconds: Seconds = Field(default=0.2, description="Pause before a part that ended starts again.")
    restart_most_seconds: Seconds = Field(default=5, description="That pause doubles each time, up to this.")
    start_attempts: int = Field(
        default=3, ge=1, description="How often a part may end before it was ever ready; then all is stopped."
    )
    log_bytes: int = Field(
        default=20_000_000, ge=100_000, description="Size at which a log in DATA_DIR/logs is turned."
    )
