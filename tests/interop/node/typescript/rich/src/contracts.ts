import 'reflect-metadata';
import {Context, Contract, Default, Info, Param, Returns, Transaction} from 'fabric-contract-api';
import type {ChaincodeStub} from 'fabric-shim';
import * as model from './model';
import {Asset, Colour, Level, Side, Weight, type Cents} from './model';
import {OnlyAType} from './model/declared';
import settings from '../settings.json';

export const named: string[] = [];

/** A context of our own. */
export class LedgerContext extends Context {
    public get clock(): string {
        return settings.clock;
    }
}

abstract class Base extends Contract {
    protected constructor(name: string, private readonly prefix: string = settings.prefix) {
        super(name);
    }

    protected key(id: string): string {
        return `${this.prefix}${id}`;
    }

    protected read(stub: ChaincodeStub, id: string): Promise<Uint8Array> {
        return stub.getState(this.key(id));
    }
}

@Info({title: 'Ledger', description: 'things', license: {name: 'Apache-2.0'}})
@Default()
export class Ledger extends Base {
    public constructor() {
        super('ledger');
    }

    public override createContext(): LedgerContext {
        return new LedgerContext();
    }

    @Transaction()
    @Returns('string')
    public async add(ctx: LedgerContext, id: model.Id, value: Cents, side: Side, level: Level = Level.High): Promise<string> {
        const asset = new Asset(id, value * Weight.Heavy);
        asset.side = side;
        asset.level = level;
        asset.colour = side === 'buy' ? Colour.Red : Colour.Blue;
        await ctx.stub.putState(this.key(id), Buffer.from(JSON.stringify(asset)));
        return `${ctx.clock} ${Level[asset.level]} ${new model.Units.Measure(asset.doubled).amount / model.Units.scale}`;
    }

    @Transaction()
    public async put(ctx: LedgerContext, asset: Asset, tags: model.Tags, colour: Colour): Promise<void> {
        await ctx.stub.putState(this.key(asset.id), Buffer.from(JSON.stringify({...asset, tags, colour})));
    }

    @Transaction(false)
    @Returns('Asset')
    public async get(ctx: LedgerContext, @Named('the key') id: model.Id): Promise<Asset> {
        const bytes = await this.read(ctx.stub as unknown as ChaincodeStub, id);
        const found = bytes?.length ? (JSON.parse(Buffer.from(bytes).toString()) as Asset) : undefined;
        return found ?? this.missing(id);
    }

    private missing(id: string): never {
        throw new Error(`no ${id}`);
    }
}

function Named(name: string): ParameterDecorator {
    return (target, key, index) => {
        const seen = Reflect.getMetadata('design:paramtypes', target, key!) as {name: string}[];
        named.push(`${name}: ${String(key)} ${index} ${seen[index].name}`);
    };
}

@Info()
export class Registry extends Base {
    public constructor() {
        super('registry', 'r:');
    }

    @Transaction()
    public async count(ctx: Context, @Named('first') by: 1 | 2 | 3, _fast: true | false): Promise<void> {
        await ctx.stub.putState(this.key('count'), Buffer.from(String(by)));
    }

    @Transaction(false)
    @Returns('string[]')
    public list(ctx: Context): Promise<string[]> {
        return this.names<string>(ctx, {name: 'x'}, 'a', 'b');
    }

    @Seen
    private async names<T extends string>(ctx: Context, only: OnlyAType, first: T, ...rest: T[]): Promise<T[]> {
        return [only.name as T, first, ...rest, ctx.stub.getTxID().slice(0, 0) as T];
    }

    @Seen
    protected maybe(date?: Date, either?: string | null, shaped?: model.Shaped, done?: model.Callback, many?: bigint | number): Asset | undefined {
        void [date, either, shaped, done, many];
        return undefined;
    }
}

function Seen(target: object, key: string): void {
    const kinds = ['design:type', 'design:paramtypes', 'design:returntype'].map((kind) => {
        const found = Reflect.getMetadata(kind, target, key) as {name: string} | {name: string}[] | undefined;
        return Array.isArray(found) ? found.map((one) => one?.name ?? 'nothing').join(' ') : (found?.name ?? 'nothing');
    });
    named.push(`${key}: ${kinds.join(', ')}`);
}
