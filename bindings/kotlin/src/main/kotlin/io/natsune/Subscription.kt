package io.natsune

import io.natsune.internal.Handle
import io.natsune.internal.SourceFlow
import io.natsune.internal.Taking
import io.natsune.internal.generated.finishUnit
import io.natsune.internal.generated.startSubscriptionClosed
import io.natsune.internal.generated.startSubscriptionDrain
import io.natsune.internal.generated.startUnsubscribe
import io.natsune.internal.generated.subscriptionStats
import io.natsune.internal.invalid
import kotlinx.coroutines.flow.Flow
import kotlin.time.Duration

/** What an inbox does with a message for which there is no room. */
public enum class WhenFull(
    internal val word: String,
) {
    /** The message that arrives is dropped. */
    DropNew("drop_new"),

    /** The oldest message that waits is dropped. */
    DropOld("drop_old"),
}

/** Messages of one subject. */
public class Subscription internal constructor(
    handle: Handle,
    private val client: Handle,
    /** The subject that was subscribed to. */
    public val subject: String,
) : AutoCloseable {
    private val taking = Taking(handle)

    /**
     * What comes. It ends normally after [unsubscribe], [drain] and [close]; leaving a collection does not end the
     * subscription. Several collectors share what comes.
     */
    public val messages: Flow<Message> = SourceFlow { taking.next()?.let { Message(it, client) } }

    /** The next message; null when none came within [timeout], or when it ended. */
    public suspend fun next(timeout: Duration? = null): Message? = taking.next(timeout)?.let { Message(it, client) }

    /** Lists of what is there, at most [max] each. */
    public fun batches(max: Int = Taking.MOST): Flow<List<Message>> {
        if (max <= 0) throw invalid("a batch has room for at least one message")
        return SourceFlow { taking.batch(max)?.map { Message(it, client) } }
    }

    /** Ends it now, or after that many messages in all. */
    public suspend fun unsubscribe(after: Long? = null): Unit =
        taking.handle.run({ queue, number -> startUnsubscribe(queue, number, after) }, ::finishUnit)

    /** Ends it when everything that came was handed out and handled. */
    public suspend fun drain(): Unit = taking.handle.run(::startSubscriptionDrain, ::finishUnit)

    /** Waits until it ended. */
    public suspend fun closed() {
        if (!taking.stopped) taking.handle.run(::startSubscriptionClosed, ::finishUnit)
    }

    /** Counters in one snapshot. */
    public fun stats(): SubscriptionStats = taking.stats(::subscriptionStats)

    /** Ends it now; what was not handed out is gone. Again is nothing. */
    override fun close(): Unit = taking.stop()
}
