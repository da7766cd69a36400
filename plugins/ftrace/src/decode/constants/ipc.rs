//! Message queues, semaphores and shared memory.

use crate::decode::meaning::Meaning;
use crate::names::{Names, names};

const KEY: Names = names![IPC_PRIVATE];
const GET: Names = names![IPC_CREAT IPC_EXCL];
const GET_SHARED_MEMORY: Names = names![IPC_CREAT IPC_EXCL SHM_HUGETLB SHM_NORESERVE];
const ATTACH: Names = names![SHM_RDONLY SHM_RND SHM_REMAP SHM_EXEC];
const MESSAGE: Names = names![IPC_NOWAIT MSG_NOERROR MSG_EXCEPT MSG_COPY];
// linux/msg.h, linux/sem.h, linux/shm.h
const MESSAGE_QUEUE: Names = names![
    IPC_RMID IPC_SET IPC_STAT IPC_INFO MSG_STAT MSG_INFO;
    MSG_STAT_ANY = 13
];
const SEMAPHORES: Names = names![
    IPC_RMID IPC_SET IPC_STAT IPC_INFO GETPID GETVAL GETALL GETNCNT GETZCNT SETVAL SETALL SEM_STAT SEM_INFO;
    SEM_STAT_ANY = 20
];
const SHARED_MEMORY: Names = names![
    IPC_RMID IPC_SET IPC_STAT IPC_INFO SHM_LOCK SHM_UNLOCK;
    SHM_STAT = 13 SHM_INFO = 14 SHM_STAT_ANY = 15
];

pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    Some(match (call, parameter) {
        ("msgget" | "semget" | "shmget", "key") => Meaning::One(KEY),
        ("msgget", "msgflg") | ("semget", "semflg") => Meaning::FlagsAndMode(GET),
        ("shmget", "shmflg") => Meaning::FlagsAndMode(GET_SHARED_MEMORY),
        ("shmat", "shmflg") => Meaning::Flags(ATTACH),
        ("msgsnd" | "msgrcv", "msgflg") => Meaning::Flags(MESSAGE),
        ("msgctl", "cmd") => Meaning::One(MESSAGE_QUEUE),
        ("semctl", "cmd") => Meaning::One(SEMAPHORES),
        ("shmctl", "cmd") => Meaning::One(SHARED_MEMORY),
        _ => return None,
    })
}
