package io.natsune.internal

import io.natsune.SubscriptionStats
import kotlinx.coroutines.ExperimentalForInheritanceCoroutinesApi
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.coroutines.yield
import kotlin.time.Duration
import kotlin.time.TimeSource

/** What is taken in batches. The batch belongs to this, not to a collector: leaving a loop loses nothing. */
internal class Taking(
    val handle: Handle,
) {
    private enum class Filled { Some, Nothing, Ended }

    private val lock = Any()
    private var batch: Batch? = null
    private var next = 0

    /** How many the last `take` gave: all of them are handled when more is asked for. */
    private var taken = 0
    private var over = false

    /** The next entry; null: it ended. */
    suspend fun next(): Entry? {
        var waited = false
        while (true) {
            pop()?.let { return it }
            when (fill(MOST)) {
                // A flood must not keep the other coroutines of this thread from running.
                Filled.Some -> if (!waited) yield()
                Filled.Ended -> return null
                Filled.Nothing -> {
                    waited = true
                    ready()
                }
            }
        }
    }

    /** The same, within a time. Only waiting is cut short, so that nothing that was popped can be lost. */
    suspend fun next(timeout: Duration?): Entry? {
        if (timeout == null) return next()
        val until = TimeSource.Monotonic.markNow() + timeout
        while (true) {
            pop()?.let { return it }
            when (fill(MOST)) {
                Filled.Some -> continue
                Filled.Ended -> return null
                Filled.Nothing -> {
                    val left = -until.elapsedNow()
                    if (!left.isPositive()) return null
                    withTimeoutOrNull(left) { ready() }
                }
            }
        }
    }

    /** Up to [most] entries of what is there, waiting for some; null: it ended. */
    suspend fun batch(most: Int): List<Entry>? {
        while (true) {
            val found = pop(most)
            if (found.isNotEmpty()) return found
            when (fill(most)) {
                Filled.Some -> yield()
                Filled.Ended -> return null
                Filled.Nothing -> ready()
            }
        }
    }

    /** Counters of the library, with what waits in the batch here as not handed out. No take can come in between. */
    fun stats(ask: (Long) -> SubscriptionStats): SubscriptionStats =
        synchronized(lock) {
            val stats = handle.ask(ask)
            val waiting = (batch?.count ?: 0) - next
            stats.copy(pending = stats.pending + waiting, delivered = stats.delivered - waiting)
        }

    /** Whether the handle is closed. */
    @Volatile
    var stopped = false
        private set

    /** Forgets what waits here and closes the handle: the iteration ends. */
    fun stop() {
        synchronized(lock) {
            batch = null
            next = 0
            over = true
            stopped = true
        }
        handle.close()
    }

    private fun pop(): Entry? =
        synchronized(lock) {
            val batch = batch
            if (batch == null || next >= batch.count) null else batch.entry(next++)
        }

    private fun pop(most: Int): List<Entry> =
        synchronized(lock) {
            val batch = batch ?: return emptyList()
            val count = minOf(most, batch.count - next)
            List(count) { batch.entry(next++) }
        }

    private fun fill(most: Int): Filled =
        synchronized(lock) {
            if (next < (batch?.count ?: 0)) return Filled.Some
            if (over) return Filled.Ended
            val batch = Batch(checked(Native.take(handle.number, most, BYTES, taken)))
            this.batch = batch.takeIf { it.count > 0 }
            next = 0
            taken = batch.count
            if (batch.count > 0) return Filled.Some
            // Only when nothing came with it: then what was taken before counts as handled too.
            over = batch.state == Batch.ENDED
            if (over) Filled.Ended else Filled.Nothing
        }

    private suspend fun ready() {
        val id = Native.startReady(Completions.queue, handle.number)
        if (id < 0 && synchronized(lock) { over }) return
        Completions.await(checked(id))
        // Whatever it says, the next take says it again.
        Native.finishNumber(id)
    }

    companion object {
        const val MOST = 256
        const val BYTES = 4 shl 20
    }
}

/**
 * A flow straight over a suspending source.
 *
 * The builder `flow` looks whether it is cancelled before each `emit`, and would lose what was popped just before. [left] is
 * called when a collection goes before the end.
 */
@OptIn(ExperimentalForInheritanceCoroutinesApi::class)
internal class SourceFlow<T : Any>(
    private val left: () -> Unit = {},
    private val source: suspend () -> T?,
) : Flow<T> {
    override suspend fun collect(collector: FlowCollector<T>) {
        var ended = false
        try {
            while (true) {
                val next = source()
                ended = next == null
                collector.emit(next ?: return)
            }
        } finally {
            if (!ended) left()
        }
    }
}
