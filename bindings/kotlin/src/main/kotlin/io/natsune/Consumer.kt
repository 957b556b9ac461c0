package io.natsune

import io.natsune.internal.Completions
import io.natsune.internal.Handle
import io.natsune.internal.SourceFlow
import io.natsune.internal.Taking
import io.natsune.internal.control
import io.natsune.internal.generated.consumptionStats
import io.natsune.internal.generated.finishConsumerInfo
import io.natsune.internal.generated.finishHandle
import io.natsune.internal.generated.finishUnit
import io.natsune.internal.generated.startConsume
import io.natsune.internal.generated.startConsumerInfo
import io.natsune.internal.generated.startConsumptionClosed
import io.natsune.internal.generated.startConsumptionDrain
import io.natsune.internal.generated.startConsumptionStop
import io.natsune.internal.generated.startFetch
import io.natsune.internal.generated.startNext
import kotlinx.coroutines.flow.Flow
import kotlin.time.Duration

/** A cursor on a stream, with its own memory of what was handled. */
public class Consumer internal constructor(
    private val js: JetStream,
    /** Its stream's name. */
    public val stream: String,
    /** Its name. */
    public val name: String,
    /** What the server said when this handle was made; null when it was not asked. */
    public val cachedInfo: ConsumerInfo?,
) {
    /** Its configuration and state. */
    public suspend fun info(): ConsumerInfo =
        js.handle.run({ queue, js -> startConsumerInfo(queue, js, stream, name) }, ::finishConsumerInfo)

    /** The next message; null when none came within [timeout] (5 s). */
    public suspend fun next(timeout: Duration? = null): JetStreamMessage? {
        val id = js.handle.ask { startNext(Completions.queue, it, stream, name, timeout) }
        return Completions.messages(id).deliveries(js.client).firstOrNull()
    }

    /** Up to [maxMessages]; none when none came within [timeout]. */
    public suspend fun fetch(
        maxMessages: Long,
        maxBytes: Long? = null,
        timeout: Duration? = null,
        noWait: Boolean = false,
    ): List<JetStreamMessage> {
        val options = FetchOptions(maxMessages, maxBytes, timeout, noWait)
        val id = js.handle.ask { startFetch(Completions.queue, it, stream, name, options) }
        return Completions.messages(id).deliveries(js.client)
    }

    /** Keeps pulling, 500 messages ahead unless told otherwise (messages or bytes). Never ends on a reconnect. */
    public suspend fun consume(
        maxMessages: Long? = null,
        maxBytes: Long? = null,
        options: ConsumeOptions.() -> Unit = {},
    ): Consumption {
        val all = ConsumeOptions(maxMessages = maxMessages, maxBytes = maxBytes).apply(options)
        val number = js.handle.run({ queue, js -> startConsume(queue, js, stream, name, all) }, ::finishHandle)
        return Consumption(Handle(number, "a consumption of $stream/$name"), js.client)
    }
}

/** The messages of [Consumer.consume]. */
public class Consumption internal constructor(
    handle: Handle,
    private val client: Handle,
) : AutoCloseable {
    private val taking = Taking(handle)

    /** What the consumer delivers; it ends after [stop], [drain] and [close]. Leaving a collection of it is [stop]; [next] goes on. */
    public val messages: Flow<JetStreamMessage> = SourceFlow(::close) { taking.next()?.let { JetStreamMessage(it, client) } }

    /** The next message; null when none came within [timeout], or when it ended. */
    public suspend fun next(timeout: Duration? = null): JetStreamMessage? = taking.next(timeout)?.let { JetStreamMessage(it, client) }

    /**
     * Ends it at once. What was not handed out comes again after the consumer's ack wait; with [release] at once, except
     * for the few that this side had taken already.
     */
    public fun stop(release: Boolean = false) {
        try {
            Completions.forget(control { startConsumptionStop(Completions.queue, taking.handle.number, release) })
        } catch (failure: NatsException) {
            if (failure.code != ErrorCode.Closed) throw failure
        }
        taking.stop()
    }

    /** Pulls no more and hands out what came; the iteration ends then. */
    public suspend fun drain(): Unit = taking.handle.run(::startConsumptionDrain, ::finishUnit)

    /** Waits until it ended and everything is handled. */
    public suspend fun closed() {
        if (!taking.stopped) taking.handle.run(::startConsumptionClosed, ::finishUnit)
    }

    /** Counters in one snapshot. */
    public fun stats(): SubscriptionStats = taking.stats(::consumptionStats)

    /** The same as [stop]. Again is nothing. */
    override fun close(): Unit = taking.stop()
}
