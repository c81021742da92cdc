//! The ways in which the toy can be broken.

macro_rules! flaws {
    ($($name:ident: $case:literal,)*) => {
        /// One way in which the toy is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Flaw {
            $($name,)*
        }

        /// Each flaw, and the case that catches it.
        pub(super) const CAUGHT_BY: &[(Flaw, &str)] = &[$((Flaw::$name, $case),)*];
    };
}

// The flaws that are only caught when the suite's patience ends come first, as they take longest.
flaws! {
    CancelOnlyMarks: "cancel::a_job_that_honours_term_ends_as_cancelled_with_its_own_code",
    CancelWaitsForTheEnd: "cancel::a_second_call_with_a_shorter_grace_shortens_it",
    EndsForOneListener: "events::every_listener_is_told_the_end",
    FollowsWithoutFollow: "logs::without_follow_it_ends_with_what_is_there",
    ForgetsTimeouts: "timeout::a_job_past_its_timeout_ends_as_deadline_exceeded",
    HidesWhyAHandleIsBad: "events::a_handle_that_cannot_be_read_is_lost_with_the_reason",
    HangsOnAJobNeverLaunched: "events::a_job_that_was_never_launched_is_lost",
    HangsOnOutputNeverWritten: "logs::the_output_of_a_job_that_was_never_launched_ends",
    HoldsOutputUntilTheEnd: "logs::output_comes_while_the_job_runs",
    IgnoresAShorterGrace: "cancel::a_second_call_with_a_shorter_grace_shortens_it",
    KeepsStandardInputOpen: "environment::standard_input_is_empty",
    KeepsStdinOpen: "stdin::a_stdin_that_is_dropped_is_end_of_file",
    KeepsTimeoutsOnlyWhileFollowed: "timeout::the_timeout_is_kept_while_nobody_follows",
    EndsOnlyOnceItsStdinIsOpened: "stdin::a_job_whose_stdin_nobody_opens_ends_all_the_same",
    EndsOnlyOnceItsStdinIsClosed: "stdin::a_job_that_never_reads_ends_all_the_same",
    LosesACancelUnderWay: "cancel::racing_a_launch_it_leaves_a_job_that_can_be_cancelled",
    NeverEnds: "events::the_end_is_told_once_and_as_the_last",
    NeverFences: "settle::racing_a_launch_it_never_says_never_started_of_a_job_that_ran",
    NeverKills: "cancel::a_job_that_ignores_term_is_killed_after_the_grace_period",
    NeverSendsRunning: "events::a_running_job_has_started_first_and_promptly",
    NeverSendsStarted: "events::a_running_job_has_started_first_and_promptly",
    SendsStartedWithTheEnd: "events::a_running_job_has_started_first_and_promptly",
    WaitsForTheEnd: "launch::it_returns_once_the_job_has_started",
    // Children.
    KillsOnlyItsGroup: "tree::a_cancelled_job_leaves_no_grandchild_in_a_session_of_its_own",
    KillsOnlyTheFirstProcess: "tree::a_cancelled_job_leaves_no_grandchild_that_ignores_term",
    LeavesChildrenAtTheEnd: "tree::a_job_that_has_ended_leaves_no_grandchild",
    LeavesProcessesWhenRemoved: "tree::a_removed_job_leaves_no_grandchild",
    // Starts.
    CallsAMissingCommandAnExit: "launch::a_command_that_is_not_there_is_rejected_as_not_found",
    KeepsARejectedJob: "launch::a_command_that_is_not_executable_is_rejected_as_such",
    NeedsItsOwnHandle: "launch::the_handle_is_the_same_in_every_instance",
    ReturnsBeforeTheStart: "launch::what_it_reports_as_started_is_never_fenced",
    RunsWhatItCannot: "launch::a_job_that_the_runner_cannot_run_is_unsupported",
    StartsAfterACancel: "launch::cancelled_under_way_a_refused_job_has_not_started",
    StartsAfterItsDeadline: "launch::past_its_deadline_under_way_a_refused_job_has_not_started",
    StartsAgainWhileItRuns: "launch::launched_again_while_it_runs_it_starts_once",
    StartsThoughCancelled: "launch::cancelled_before_it_began_it_is_refused_and_nothing_is_left",
    StartsThoughLate: "launch::past_its_deadline_it_is_refused_and_nothing_is_left",
    StartsTwice: "launch::launched_again_after_its_end_it_starts_once",
    StartsTwiceAtOnce: "launch::launched_by_two_instances_at_once_it_starts_once",
    // Fences.
    FencesInOneInstance:
        "settle::what_was_never_launched_is_never_started_and_is_refused_from_then_on",
    FencesWhatRuns: "settle::what_has_started_may_have_started_and_goes_on",
    ForgetsItsFence: "settle::what_was_never_launched_is_never_started_and_is_refused_from_then_on",
    ForgetsWhatHasEnded: "settle::what_has_ended_may_have_started",
    IgnoresItsFenceUnderWay:
        "settle::racing_a_launch_it_never_says_never_started_of_a_job_that_ran",
    KillsWhatItSettles: "settle::what_has_started_may_have_started_and_goes_on",
    RemovalLiftsTheFence: "remove::what_was_fenced_stays_fenced",
    RemovalLiftsTheFenceUnderWay: "remove::racing_a_launch_what_was_fenced_and_removed_never_starts",
    StartsLateAfterItsFence:
        "settle::racing_a_launch_it_never_says_never_started_of_a_job_that_ran",
    // Ends.
    CallsAKilledJobASuccess: "events::a_job_removed_under_a_listener_never_ends_as_a_success",
    CallsALostJobASuccess: "events::a_job_that_was_never_launched_is_lost",
    CallsARemovedJobASuccess: "events::a_job_that_was_removed_is_lost",
    CallsTheSignalACode: "outcome::a_job_killed_by_kill_exits_with_137",
    EndsTwice: "events::the_end_is_told_once_and_as_the_last",
    EndsWithoutEnded: "events::every_listener_is_told_the_end",
    ForgetsTheSignal: "outcome::a_job_killed_by_term_exits_with_143",
    HasNoTimes: "launch::it_returns_once_the_job_has_started",
    KillsWhenAStreamIsDropped: "events::a_stream_that_is_dropped_does_not_end_the_job",
    KnowsOnlyItsOwnJobs: "events::the_end_of_an_ended_job_is_told_again_in_every_instance",
    SendsNoStartedOnceEnded: "events::an_ended_job_has_started_first_and_promptly",
    SendsRunningOnceEnded: "events::an_ended_job_has_started_first_and_promptly",
    StartedHasAnotherTime: "events::an_ended_job_has_started_first_and_promptly",
    TruncatesExitCodes: "outcome::each_exit_code_is_the_jobs_own",
    UsesAnotherClock: "outcome::the_times_are_those_of_the_clock_and_of_the_launch",
    // Cancels and timeouts.
    CallsATimeoutACancel: "timeout::a_job_past_its_timeout_ends_as_deadline_exceeded",
    CancelRewritesTheOutcome: "cancel::a_job_that_had_ended_keeps_its_outcome",
    FailsToCancelTwice: "cancel::called_twice_it_is_ok",
    FailsToCancelWhatIsGone: "cancel::a_job_that_was_removed_is_ok",
    ForgetsItsCancelElsewhere: "cancel::a_job_cancelled_by_another_instance_ends_as_cancelled",
    ForgetsThatItWasCancelled: "cancel::a_job_that_honours_term_ends_as_cancelled_with_its_own_code",
    KillsAtItsTimeoutAtOnce: "timeout::a_job_past_its_timeout_is_told_with_term_first",
    KillsBeforeTheGraceIsOver:
        "cancel::a_job_that_honours_term_ends_as_cancelled_with_its_own_code",
    // Signals.
    CallsASignalACancel: "signal::a_job_that_it_ends_has_its_own_outcome",
    IgnoresItsSignals: "signal::it_reaches_the_main_process_which_handles_it",
    SendsEachSignalOnce: "signal::two_of_a_kind_are_handled_twice",
    SignalsTheWholeTree: "signal::it_reaches_the_main_process_alone",
    SignalsWhatHasEnded: "signal::an_ended_job_takes_none",
    // Commands in a job.
    CallsAMissingCommandASuccess:
        "exec::a_command_has_the_jobs_environment_and_its_own_streams_and_code",
    ExecsInWhatHasEnded: "exec::a_command_ends_with_the_job_which_then_takes_none",
    ForgetsTheEnvironmentOfCommands:
        "exec::a_command_has_the_jobs_environment_and_its_own_streams_and_code",
    LetsCommandsOutliveTheJob: "exec::a_command_ends_with_the_job_which_then_takes_none",
    MixesTheStreamsOfCommands:
        "exec::a_command_has_the_jobs_environment_and_its_own_streams_and_code",
    // Output.
    AddsAFinalNewline: "logs::output_without_a_final_newline_comes_whole",
    FailsOnRemovedOutput: "logs::a_removed_jobs_output_is_a_gap_in_each_stream",
    IgnoresPositions: "logs::a_reader_that_comes_back_goes_on_where_it_stopped",
    LosesAnUnfinishedLine: "logs::output_without_a_final_newline_comes_whole",
    LosesTheLastOutput: "logs::what_is_written_right_before_the_end_comes",
    MakesTextValid: "logs::bytes_that_are_no_utf8_come_as_they_were_written",
    MarksOneStreamOnly: "logs::a_removed_jobs_output_is_a_gap_in_each_stream",
    MixesStreams: "logs::both_streams_come_apart",
    RepeatsPieces: "logs::lines_come_in_order",
    SilentAboutRemovedOutput: "logs::a_removed_jobs_output_is_a_gap_in_each_stream",
    StopsAtTheFirstPause: "logs::a_reader_that_comes_back_goes_on_where_it_stopped",
    StopsReadingEarly: "logs::after_the_end_it_is_all_there_in_every_instance",
    SwapsPieces: "logs::after_the_end_it_is_all_there_in_every_instance",
    TimesWhatIsRead: "times::each_line_has_the_time_at_which_it_was_written",
    TimesOnlyTheFirstLine: "times::the_bytes_are_those_of_the_output_from_any_position",
    WritesToATerminal: "logs::lines_come_in_order",
    // Adoption and removal.
    AdoptsNoEndedJobs: "adopt::it_finds_an_ended_job_until_it_is_removed",
    AdoptsOnlyItsOwnJobs: "adopt::it_finds_a_running_job_of_another_instance",
    AdoptsRemovedJobs: "adopt::it_finds_an_ended_job_until_it_is_removed",
    CallsEveryRemovalDone: "remove::a_running_job_is_killed_and_gone",
    FailsToRemoveTwice: "remove::an_ended_job_is_gone_afterwards_and_removing_it_again_is_ok",
    MixesInstallations: "adopt::it_never_finds_another_installations_job",
    // What a job gets, and what others see of it.
    ChangesItsCapabilities: "probe::name_and_capabilities_are_the_same_in_every_instance",
    CheckStartsTheJob: "plan::a_check_starts_nothing_and_finds_no_fault_in_a_job_that_runs",
    ClaimsReadOnlyInput: "directory::input_cannot_be_written_by_the_job",
    CutsLongValues: "environment::a_long_value_arrives_whole",
    CutsItsStdin: "stdin::much_input_arrives_unharmed_as_fast_as_the_job_reads",
    DropsWhatIsWrittenAfterTheEnd: "stdin::once_the_job_has_ended_nothing_can_be_written",
    ForgetsThePlaceholder: "directory::the_placeholder_in_an_argument_names_it_as_the_job_sees_it",
    IgnoresTheWorkingDirectory: "environment::the_working_directory_is_the_one_asked_for",
    LeaksItsEnvironment: "environment::the_hosts_environment_does_not_leak",
    LosesTheEnvironment: "environment::values_arrive_exactly",
    GivesAnEmptyStdin: "stdin::what_is_written_arrives_and_then_end_of_file",
    OpensTheStdinOfItsOwnJobsOnly: "stdin::another_instance_can_open_it",
    PlanStartsTheJob: "plan::it_shows_what_would_run_and_starts_nothing",
    ProbeHasNoVersion: "probe::a_healthy_backend_tells_its_version",
    PutsSecretsInArguments: "plan::a_secret_is_in_no_argument_of_a_process",
    ShowsSecrets: "plan::secrets_stand_as_stars_and_show_nowhere_else",
    SplitsArguments: "environment::arguments_arrive_exactly",
}
