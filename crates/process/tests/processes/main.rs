//! Tests the process backend with real processes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "these are tests, though not of the harness that clippy knows"
)]

mod cgroups;
mod commands;
mod ends;
mod forks;
mod launches;
mod limits;
mod output;
mod supervisors;
mod support;
mod tree;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Trial};

/// Declares cases: functions of a module, named after the behaviour.
macro_rules! cases {
    ($($module:ident { $($name:ident,)* })*) => {
        vec![$($(Trial::test(concat!(stringify!($module), "::", stringify!($name)), || {
            support::run($module::$name());
            Ok(())
        }),)*)*]
    };
}

/// Declares cases that only run if `obstacle` of their module returns `None`.
macro_rules! cases_unless {
    ($obstacle:expr, $module:ident { $($name:ident),* $(,)? }) => {{
        let obstacle: Option<String> = $obstacle;
        vec![$({
            let obstacle = obstacle.clone();
            Trial::ignorable_test(concat!(stringify!($module), "::", stringify!($name)), || {
                if let Some(obstacle) = obstacle {
                    return Ok(Completion::ignored_with(format!("unsupported: {obstacle}")));
                }
                support::run($module::$name());
                Ok(Completion::Completed)
            })
        },)*]
    }};
}

fn main() -> ExitCode {
    support::before_init();
    longshore_process::init();
    if let Some(code) = support::helper() {
        return code;
    }
    let mut cases = cases! {
        commands {
            a_command_ends_though_a_process_that_it_started_keeps_its_output_open,
            a_command_is_refused_with_the_reason,
        }
        ends {
            a_job_ends_with_its_own_exit_code,
            a_job_ended_by_a_signal_tells_the_signal,
            a_job_past_its_timeout_ends_as_deadline_exceeded,
            a_cancelled_job_ends_as_cancelled,
            a_job_that_ignores_term_is_killed_after_the_grace,
            a_second_cancel_with_a_shorter_grace_shortens_it,
            an_ended_job_keeps_its_outcome_when_it_is_cancelled,
            a_stopped_job_can_be_cancelled,
            a_removed_attempt_is_gone,
            a_job_forced_to_the_disk_ends_the_same,
        }
        forks {
            supervisors_that_run_at_once_share_their_memory,
            a_killed_fork_server_harms_no_job_and_is_replaced,
            jobs_with_forked_supervisors_outlive_the_process_that_launched_them,
        }
        launches {
            a_command_that_is_not_there_is_refused_and_leaves_nothing,
            a_command_that_cannot_be_executed_is_refused_and_leaves_nothing,
            a_job_that_stops_its_supervisor_at_once_is_launched_all_the_same,
            a_missing_working_directory_is_refused_with_its_path,
            a_job_directory_without_input_is_invalid,
            a_state_directory_that_cannot_be_made_is_unavailable,
            the_environment_is_clean,
            a_job_has_no_inherited_descriptors_and_default_signals,
            a_program_started_apart_leads_a_session_and_has_no_inherited_descriptors,
            two_processes_that_launch_one_attempt_start_it_once,
            settling_and_launching_at_once_never_both_win,
            a_settled_attempt_cannot_be_launched,
            a_cancelled_launch_is_refused,
            a_launch_that_was_refused_never_starts_later,
            one_more_job_than_slots_is_saturated,
            fifty_jobs_run_at_once,
            a_job_without_inotify_is_followed_cancelled_and_removed,
        }
        limits {
            a_job_gets_the_limits_of_the_command_and_its_supervisor_does_not,
            a_limit_on_file_sizes_neither_cuts_output_off_nor_loses_the_job,
            a_job_that_exceeds_a_limit_says_which,
            a_job_takes_few_descriptors,
            with_few_descriptors_jobs_are_refused_or_run_to_their_end,
            output_beyond_a_hard_limit_on_file_sizes_is_kept_in_several_files,
            a_hard_limit_that_is_too_low_for_a_supervisor_is_a_refusal_with_its_name,
        }
        output {
            output_is_kept_byte_for_byte_without_a_final_newline,
            both_streams_are_kept_apart,
            a_hundred_mebibytes_arrive_whole,
            output_is_followed_while_the_job_runs,
            output_is_read_again_from_a_position,
            a_job_that_opens_dev_stderr_anew_loses_nothing,
            output_of_a_removed_attempt_is_a_gap,
            a_job_keeps_no_more_output_than_the_bound_and_the_rest_is_a_gap,
            a_follower_that_keeps_up_loses_nothing_though_output_exceeds_the_bound,
            a_follower_that_falls_behind_reads_what_is_kept_and_marks_the_rest,
        }
        tree {
            a_cancelled_job_leaves_no_grandchild,
            a_job_that_ended_leaves_no_daemon_that_keeps_its_output_open,
            what_is_forked_while_the_job_is_told_to_end_is_told_too,
            an_orphan_is_reaped_while_the_job_runs,
            a_killed_supervisor_makes_the_job_lost_and_its_tree_is_killed,
            a_follower_that_lacks_descriptors_never_kills_the_job,
            a_job_whose_directory_somebody_deletes_is_lost_and_killed,
            a_job_whose_record_is_damaged_runs_on_and_can_be_cancelled,
            a_job_whose_record_cannot_be_read_is_ended_before_it_is_removed,
            a_job_in_a_linked_state_directory_with_a_damaged_record_runs_on,
            a_job_whose_first_thread_has_ended_can_be_cancelled,
            a_job_whose_record_is_damaged_is_lost_once_its_supervisor_is_gone,
        }
        supervisors {
            a_job_outlives_the_command_that_launched_it,
            a_supervisor_is_reused,
            idle_supervisors_end,
            the_supervisor_of_a_job_that_goes_on_gives_back_the_pages_of_its_start,
            a_dropped_runner_leaves_no_supervisor,
            a_stopped_supervisor_obeys_a_cancel,
            a_stopped_supervisor_enforces_the_timeout_of_a_job_that_is_followed,
            a_supervisor_that_is_stopped_again_and_again_is_killed_and_its_job_ended,
            what_a_program_prints_before_init_is_part_of_the_error_and_harms_no_job,
            a_program_that_hangs_before_init_is_killed_and_the_launch_refused,
            descriptors_are_not_leaked,
            attempts_of_another_installation_are_not_adopted,
        }
    };
    cases.extend(cases_unless!(
        cgroups::obstacle(),
        cgroups {
            a_limited_job_and_its_commands_are_in_its_cgroups_and_leave_none_behind,
            a_killed_supervisor_leaves_no_cgroup_and_no_process_that_hides,
            a_job_whose_cgroup_cannot_be_created_is_refused_and_leaves_nothing,
        }
    ));
    let is_root = rustix::process::geteuid().is_root();
    let no_root = (!is_root).then(|| "only root can become another user".to_owned());
    cases.extend(cases_unless!(
        no_root.or_else(cgroups::obstacle),
        cgroups { a_user_without_cgroups_is_told_how_to_get_some }
    ));
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, cases).exit_code()
}
