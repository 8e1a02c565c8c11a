// SPDX-License-Identifier: MIT
#pragma once
// Each struct of the state with its fields; only handover/ includes this. To add a field, declare it with a default,
// and name it here. unit/handover then says how to proceed.

#include "core/state.h"
#include "sys/archive.h"

namespace superd::sys {
SUPERD_FIELDS(IpBytes, v6, bytes)
SUPERD_FIELDS(Prefix, base, length)
SUPERD_FIELDS(Identity, uid, gid, groups, user)
SUPERD_FIELDS(User, uid, gid, name, home, shell)
SUPERD_FIELDS(Descriptors::Entry, number, device, inode, claimed)
SUPERD_FIELDS(Names::Answer, question, found, user, groups, number)
}  // namespace superd::sys

namespace superd::conf {
SUPERD_ENUM(Model, Model::delayed)
SUPERD_ENUM(Handoff, Handoff::listen)
SUPERD_ENUM(SocketType, SocketType::seqpacket)
SUPERD_ENUM(Transport, Transport::inherited)
SUPERD_ENUM(Stderr, Stderr::inherit)
SUPERD_ENUM(LogConnections, LogConnections::all)
SUPERD_ENUM(Warm, Warm::clone)
SUPERD_ENUM(Excess, Excess::reject)
SUPERD_ENUM(Denial, Denial::drop)
SUPERD_ENUM(Session, Session::peer)
SUPERD_ENUM(Preset, Preset::strict)
SUPERD_ENUM(ProtectSystem, ProtectSystem::strict)
SUPERD_ENUM(ProtectHome, ProtectHome::tmpfs)
SUPERD_ENUM(ProtectProc, ProtectProc::ptraceable)
SUPERD_ENUM(PathMeans, PathMeans::landlock)
SUPERD_ENUM(Leftovers, Leftovers::end)
SUPERD_ENUM(ProxyVersions, ProxyVersions::any)
SUPERD_ENUM(ClientCertificate, ClientCertificate::require)
SUPERD_ENUM(TlsVersion, TlsVersion::tls_1_3)
SUPERD_FIELDS(Listen, transport, host, port, cid, path, name)
SUPERD_FIELDS(SocketOptions, backlog, reuse_port, v6only, freebind, bind_to_device, keepalive, keepalive_time,
              keepalive_interval, keepalive_probes, nodelay, defer_accept, receive_buffer, send_buffer, priority, tos,
              mark, fast_open, mptcp, congestion, ttl, transparent, broadcast, multicast, mode, user, group)
SUPERD_FIELDS(Rate, interval, burst)
SUPERD_FIELDS(Limits, instances, per_source, rate, per_source_rate, source_prefix_ipv4, source_prefix_ipv6, max_load,
              on_excess, reject_text, wait_timeout)
SUPERD_FIELDS(TimeWindow, days, from, until)
SUPERD_FIELDS(Access, allow, deny, times, on_deny)
SUPERD_FIELDS(Prefork, min_spare, max_spare, max_requests, max_idle, max_age, grow_after, warm, warm_within)
SUPERD_FIELDS(Penalty, on, failed, crashed, refused, touched, threshold, max, exempt, everywhere)
SUPERD_FIELDS(ProxyProtocol, on, accept, from, timeout)
SUPERD_FIELDS(PemFile, path, stamp)
SUPERD_FIELDS(TlsName, names, certificate, key)
SUPERD_FIELDS(Tls, on, certificate, key, names, client_ca, client_crl, client_certificate, min_version, ciphers, alpn,
              handshake_timeout, identity)
SUPERD_FIELDS(Datagrams, session, session_idle)
SUPERD_FIELDS(NumberSet, all_but, listed)
SUPERD_FIELDS(SandboxPath, path, may_be_absent)
SUPERD_FIELDS(LeftOut, key, why)
SUPERD_FIELDS(Sandbox, preset, no_new_privileges, capabilities, ambient_capabilities, private_network, private_tmp,
              private_devices, private_pids, private_ipc, protect_system, protect_home, protect_kernel, protect_proc,
              read_only_paths, read_write_paths, inaccessible_paths, state_directory, syscalls, syscall_error,
              memory_deny_write_execute, address_families, forbidden_namespaces, restrict_realtime, restrict_suid_sgid,
              lock_personality, path_means, left_out)
SUPERD_FIELDS(Resources, memory_max, memory_high, memory_swap_max, pids_max, cpu_max, cpu_weight, io_weight, leftovers,
              left_out)
SUPERD_FIELDS(ResourceLimit, resource, soft, hard)
SUPERD_FIELDS(Handler, path, argv, environment, identity, working_directory, root_directory, umask, nice, error_output,
              rlimits)
SUPERD_FIELDS(Service, name, description, enabled, listen, model, handoff, handler, stop_signal, stop_timeout,
              max_lifetime, socket, limits, access, prefork, penalty, proxy_protocol, tls, datagram, sandbox, resources,
              delay, log_connections, log_usage, stderr_rate)
SUPERD_FIELDS(Control, readers)
SUPERD_FIELDS(Shutdown, drain)
SUPERD_FIELDS(Catalog, services, control, shutdown, watch)
}  // namespace superd::conf

namespace superd::admit {
SUPERD_ENUM(SourceKey::Kind, SourceKey::Kind::cid)
SUPERD_FIELDS(SourceKey, kind, bytes, bits)
SUPERD_FIELDS(Owed, key, runs_off_at, refused_until)
SUPERD_FIELDS(Admission::Memory, full_at, latest, sources, owed, unfinished)
}  // namespace superd::admit

namespace superd::model {
SUPERD_FIELDS(Credentials, pid, uid, gid)
SUPERD_FIELDS(Introduction, credentials, is_proxy, touched)
}  // namespace superd::model

namespace superd::intake {
SUPERD_FIELDS(RefusalLog::Memory, counts, in_window, until)
SUPERD_FIELDS(ClientState, listener, connection, datagram, peer, local, accepted, variables, introduction)
SUPERD_FIELDS(EntrantState, client, source, ticket, stage, memory, wants_bytes, since, until)
SUPERD_FIELDS(HeldState, client, source, until)
SUPERD_FIELDS(IntakeState, admission, refused, held, stalled, rate_tripped, offences, entrants, next_ticket, introduced)
}  // namespace superd::intake

namespace superd::net {
SUPERD_FIELDS(Listener::Kept, fd, where, options, type, inherited, given, passed_name, path, device, inode, settings)
}  // namespace superd::net

namespace superd::proc {
SUPERD_FIELDS(WarmFile, path, device, inode, size, modified, changed)
SUPERD_ENUM(WarmProcess::State, WarmProcess::State::gone)
namespace warm {
SUPERD_ENUM(Obstacle, Obstacle::last)
}  // namespace warm
SUPERD_FIELDS(WarmProcess::Told, state, pid, obstacle, reported, code, detail, facts, threads, files)
SUPERD_FIELDS(WarmProcess::Kept, told, channel)
}  // namespace superd::proc

namespace superd::core {
SUPERD_FIELDS(WarmLevel::Memory, in_force, reason, told, renewals, retry_at, backoff, often)
SUPERD_FIELDS(WarmProcessRecord, started, since, trial, leaving, closes_by, served)
SUPERD_FIELDS(WarmProcessState, warm, record)
SUPERD_FIELDS(WarmRecord, serial, start_at, age_at, start_time, facts, threads, has_parked, told_random, drained)
SUPERD_FIELDS(WarmState, level, processes, copied, files, ways, record)
SUPERD_FIELDS(CgroupEvents, memory_high, memory_kills, pids_max)
SUPERD_FIELDS(CgroupCounts, events, cpu_usec, throttled_usec, throttled)
SUPERD_FIELDS(WarmCounts, copies, templates, fallbacks, renewals)
SUPERD_FIELDS(Deadlines::Entry, when, pid, serial)
SUPERD_FIELDS(Usage, user, system, memory, in, out, retransmits)
SUPERD_FIELDS(Exits, ok, failed, stopped, killed)
SUPERD_FIELDS(Stats, accepted, started, failures, spawn_failures, replies, reply_failures, stderr_dropped,
              sockets_mended, exits, usage, handler_time, accept_to_exec)
SUPERD_FIELDS(SessionCounts, begun, gave_way, idle, empty, nameless, overflow, unread, too_long)
SUPERD_FIELDS(SessionRecord, peer, local, bound, idle, patience, begun, last, received, given, first, listed, ending,
              over, due, queue)
SUPERD_FIELDS(SessionState, record, ours, theirs, socket, as)
SUPERD_FIELDS(RelayState, answers, socket, peer, local, as)
SUPERD_FIELDS(GivenSockets, where, type, inodes)
SUPERD_ENUM(ChildRecord::Kind, ChildRecord::Kind::parked)
SUPERD_FIELDS(ChildRecord, kind, serial, started, peer, stopping, sent, reports, mute, retired, signalled, listener,
              given, first, copy_of, leaf)
SUPERD_FIELDS(KnownState, local, variables, introduction)
SUPERD_FIELDS(ChildState, pid, record, place, pair, connection, relay, session, warm, known)
SUPERD_FIELDS(HoldState, pid, channel, dying)
SUPERD_FIELDS(LauncherState, pid, channel, version)
SUPERD_FIELDS(TlsState, id, pid, channel, drained, given, waiting, version)
SUPERD_FIELDS(GenerationState, definition, listeners, drained, unread, serial, children, lifetimes, kills, retired,
              wake_at, model, warm, hold, launcher, tls)
SUPERD_FIELDS(Episode::Memory, count, begun, last)
SUPERD_FIELDS(SessionsState, counts, dropped, waiting)
SUPERD_FIELDS(CgroupState, seen, counts, excused, ending, kill_at, kills, refusals, slow)
SUPERD_FIELDS(ErrorStreamState, read, write, partial, full_at, dropped)
SUPERD_FIELDS(ServiceState, name, withdrawn, shut, backing_off, in_episode, untouched, wish, failing, cannot_start,
              cannot_start_at, episode_tries, last_scarce, throttled_until, retry_at, backoff, throttle, stats,
              warm_counts, cgroup, errors, reply_failures, sessions, intake, current, former)
SUPERD_FIELDS(Port::Waiting, next, backoff)
SUPERD_FIELDS(Port::Condition, trouble, told, deaf, renewable, renewals, renewed_at, renew_at)
SUPERD_FIELDS(PortState, key, where, socket, waiting, condition, owner, index)
SUPERD_FIELDS(PassedState, name, fd)
SUPERD_FIELDS(WatchState, files, print, told_deaf)
SUPERD_FIELDS(ControlState, socket, made_folder)
SUPERD_FIELDS(State, proof, binary, folder, nofile_soft, nofile_hard, begun, begun_at, reloads, reloads_refused,
              upgrades, upgrades_refused, reload_refused_because, descriptors, catalog, passed, ports, services,
              control, pid_file, names, log_lost, log_untold, cgroup, everywhere, stored, watch)
}  // namespace superd::core
