package io.natsune

import io.natsune.internal.Completions
import io.natsune.internal.Handle
import io.natsune.internal.SourceFlow
import io.natsune.internal.Taking
import io.natsune.internal.generated.finishConsumerInfo
import io.natsune.internal.generated.finishHandle
import io.natsune.internal.generated.finishPurged
import io.natsune.internal.generated.finishStreamInfo
import io.natsune.internal.generated.finishUnit
import io.natsune.internal.generated.startCreateConsumer
import io.natsune.internal.generated.startCreateOrUpdateConsumer
import io.natsune.internal.generated.startDeleteConsumer
import io.natsune.internal.generated.startDeleteMessage
import io.natsune.internal.generated.startGetMessage
import io.natsune.internal.generated.startPurgeStream
import io.natsune.internal.generated.startReadStream
import io.natsune.internal.generated.startStreamInfo
import io.natsune.internal.generated.startUpdateConsumer
import kotlinx.coroutines.flow.Flow
import kotlin.time.Duration

/** A stream: messages in their order, kept. */
public class Stream internal constructor(
    private val js: JetStream,
    /** Its name. */
    public val name: String,
    /** What the server said when this handle was made; null when it was not asked. */
    public val cachedInfo: StreamInfo?,
) {
    /** Its configuration and state. */
    public suspend fun info(): StreamInfo = js.handle.run({ queue, js -> startStreamInfo(queue, js, name) }, ::finishStreamInfo)

    /** Deletes messages: all, of a subject, below a sequence, or all but the last [keep]. Gives how many. */
    public suspend fun purge(
        filter: String? = null,
        sequence: Long? = null,
        keep: Long? = null,
    ): Long = js.handle.run({ queue, js -> startPurgeStream(queue, js, name, filter, sequence, keep) }, ::finishPurged)

    /** One message by its sequence, or the last of a subject, or the next of a subject from [sequence] on. */
    public suspend fun get(
        sequence: Long? = null,
        lastFor: String? = null,
        nextFor: String? = null,
    ): StoredMessage? {
        val id = js.handle.ask { startGetMessage(Completions.queue, it, name, sequence, lastFor, nextFor) }
        val batch = Completions.messages(id)
        return if (batch.count == 0) null else StoredMessage(batch.entry(0))
    }

    /** Deletes one message. */
    public suspend fun deleteMessage(sequence: Long): Unit =
        js.handle.run({ queue, js -> startDeleteMessage(queue, js, name, sequence) }, ::finishUnit)

    /** Reads the stream in order from [start] on; ends at the end that it has by then. */
    public suspend fun read(start: Long? = null): StreamReader =
        StreamReader(Handle(js.handle.run({ queue, js -> startReadStream(queue, js, name, start) }, ::finishHandle)))

    /** Makes a consumer. The same again succeeds; another of that name is `AlreadyExists`. */
    public suspend fun createConsumer(config: ConsumerConfig): Consumer =
        made(js.handle.run({ queue, js -> startCreateConsumer(queue, js, name, config) }, ::finishConsumerInfo))

    /** The same: `createConsumer { durable = "workers"; filterSubjects("jobs.>") }`. */
    public suspend fun createConsumer(config: ConsumerConfig.() -> Unit): Consumer = createConsumer(ConsumerConfig().apply(config))

    /** Changes a consumer. */
    public suspend fun updateConsumer(config: ConsumerConfig): Consumer =
        made(js.handle.run({ queue, js -> startUpdateConsumer(queue, js, name, config) }, ::finishConsumerInfo))

    /** Makes or changes a consumer. */
    public suspend fun createOrUpdateConsumer(config: ConsumerConfig): Consumer =
        made(js.handle.run({ queue, js -> startCreateOrUpdateConsumer(queue, js, name, config) }, ::finishConsumerInfo))

    private fun made(info: ConsumerInfo): Consumer = Consumer(js, name, info.name, info)

    /** Deletes a consumer. */
    public suspend fun deleteConsumer(consumer: String): Unit =
        js.handle.run({ queue, js -> startDeleteConsumer(queue, js, name, consumer) }, ::finishUnit)

    /** A handle, made without asking the server. */
    public fun consumer(consumer: String): Consumer = js.consumer(name, consumer)
}

/** A stream being read to its end. */
public class StreamReader internal constructor(
    handle: Handle,
) : AutoCloseable {
    private val taking = Taking(handle)

    /** What is stored, in order. */
    public val messages: Flow<StoredMessage> = SourceFlow { taking.next()?.let { StoredMessage(it) } }

    /** The next message; null when none came within [timeout], or at the end. */
    public suspend fun next(timeout: Duration? = null): StoredMessage? = taking.next(timeout)?.let { StoredMessage(it) }

    /** Ends it. Again is nothing. */
    override fun close(): Unit = taking.stop()
}
