package io.natsune.internal

import kotlinx.coroutines.CancellableContinuation
import kotlinx.coroutines.suspendCancellableCoroutine
import java.util.concurrent.ConcurrentHashMap
import kotlin.coroutines.resume

/**
 * The completion queue of this process: started operations are finished ids here, and suspended coroutines there.
 *
 * No thread waits for an operation. One daemon thread waits in the library for finished ids, and resumes who waits for them.
 */
internal object Completions {
    /** Finished before anybody waited. */
    private val done = Any()

    /** Nobody waits, and the result is of no interest. */
    private val forgotten = Any()

    /** By id: the continuation that waits, or one of the two above. */
    private val waiting = ConcurrentHashMap<Long, Any>()

    /** Held while ids are drained and while one is cancelled: a cancelled id is then either never drained or already here. */
    private val draining = Any()

    /** The library's number of the queue. */
    val queue: Long = checked(Native.queueNew())

    init {
        Thread(::run, "natsune-completions").apply {
            isDaemon = true
            start()
        }
    }

    private fun run() {
        val ids = LongArray(256)
        while (Native.queueWait(queue) >= 0) {
            while (drain(ids) == ids.size) {
                // There may be more.
            }
        }
    }

    /** A dispatcher that cannot take its coroutine must not end this thread: everybody else waits for it. */
    private fun resume(continuation: CancellableContinuation<Unit>) {
        try {
            continuation.resume(Unit)
        } catch (
            @Suppress("TooGenericExceptionCaught") failure: Throwable,
        ) {
            System.getLogger("io.natsune").log(System.Logger.Level.ERROR, "a coroutine could not be resumed", failure)
        }
    }

    private fun drain(ids: LongArray): Int {
        val ready = ArrayList<Any>()
        val count: Int
        synchronized(draining) {
            count = Native.queueDrain(queue, ids)
            for (at in 0 until count) {
                val before = waiting.putIfAbsent(ids[at], done) ?: continue
                waiting.remove(ids[at])
                if (before === forgotten) Native.finishNumber(ids[at]) else ready += before
            }
        }
        for (continuation in ready) {
            @Suppress("UNCHECKED_CAST")
            resume(continuation as CancellableContinuation<Unit>)
        }
        return count
    }

    /** Waits until [id] is finished. Cancelling the coroutine cancels the operation and leaves nothing behind. */
    suspend fun await(id: Long) {
        suspendCancellableCoroutine { continuation ->
            // Called too when the coroutine is cancelled between being resumed and running again.
            continuation.invokeOnCancellation { cancel(id) }
            if (waiting.putIfAbsent(id, continuation) != null) {
                waiting.remove(id)
                continuation.resume(Unit)
            } else if (continuation.isCancelled) {
                waiting.remove(id)
            }
        }
    }

    private fun cancel(id: Long) {
        synchronized(draining) {
            Native.cancel(id)
            waiting.remove(id)
        }
    }

    /** Lets an operation that gives nothing go on by itself. */
    fun forget(id: Long) {
        if (waiting.putIfAbsent(id, forgotten) != null) {
            waiting.remove(id)
            Native.finishNumber(id)
        }
    }

    /** How many operations wait: for tests. */
    val size: Int get() = waiting.size

    /** Starts an operation of the generated lane, waits, and takes its result. */
    suspend inline fun <T> run(
        start: (Long) -> Long,
        finish: (Long) -> T,
    ): T {
        val id = control { start(queue) }
        await(id)
        return control { finish(id) }
    }

    /** Waits for an id that gives messages. */
    suspend fun messages(id: Long): Batch {
        await(id)
        return Batch(checked(Native.finishMessages(id)))
    }

    /** Waits for an id that gives a number, or nothing. */
    suspend fun number(id: Long): Long {
        await(id)
        return checked(Native.finishNumber(id))
    }
}
